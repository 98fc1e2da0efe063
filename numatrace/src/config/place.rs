//! Where the file is, and how it is read. As root it is opened with the rights of the user whose file it is, and read only
//! where that user could: what it says can be told in a message, and the user can make it a link to anything.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Refused, Surroundings};
use crate::rights::FileRights;

/// Largest file that is read.
const MOST: u64 = 64 << 10;

/// Where the file is below the folder of configurations.
const FILE: &str = "numatrace/config.toml";

/// A user for whom we, as root, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Their number.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// Their home, where the machine knows it.
    pub home: Option<PathBuf>,
}

/// Where the file is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// The command line names it, so it has to be there.
    pub named: bool,
}

impl Place {
    /// `named`, else in the folder of configurations: `XDG_CONFIG_HOME`, else `.config` of the user's home. `None` where
    /// there is no such folder.
    pub fn find(named: Option<&Path>, around: &Surroundings<'_>) -> Option<Place> {
        if let Some(path) = named {
            return Some(Place { path: path.to_owned(), named: true });
        }
        // A path that is not absolute is none: https://specifications.freedesktop.org/basedir-spec/latest/.
        let absolute = |name| (around.var)(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = match &around.reader {
            // Under sudo, HOME is root's.
            Some(reader) if reader.uid != 0 => reader.home.clone(),
            _ => absolute("HOME").or_else(|| around.reader.as_ref()?.home.clone()),
        };
        let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")))?;
        Some(Place { path: folder.join(FILE), named: false })
    }

    /// The text of the file; `None` where there is none and none was named.
    ///
    /// # Errors
    /// When it cannot be read, or the user for whom we read could not.
    pub fn read(&self, reader: Option<&Reader>) -> Result<Option<String>, Refused> {
        let refused = |why: String| Refused { path: self.path.clone(), line: None, why };
        let file = match self.open(reader) {
            Ok(file) => file,
            Err(error) if !self.named && (is_missing(&error) || reader.is_none() && self.is_hidden()) => {
                return Ok(None);
            }
            Err(error) => return Err(refused(format!("it cannot be read: {error}"))),
        };
        let meta = file.metadata().map_err(|error| refused(format!("it cannot be read: {error}")))?;
        self.check(&meta, reader).map_err(|why| refused(why.into()))?;
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| refused(format!("it cannot be read: {error}")))?;
        if bytes.len() as u64 > MOST {
            return Err(refused("it is larger than 64 KiB, which no configuration is".into()));
        }
        let wrong = |error: std::string::FromUtf8Error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Refused { line: Some(line), ..refused("it is not in UTF-8, as TOML is".into()) }
        };
        String::from_utf8(bytes).map(Some).map_err(wrong)
    }

    fn open(&self, reader: Option<&Reader>) -> io::Result<File> {
        let mut flags = libc::O_CLOEXEC;
        if !self.named {
            // Of a pipe in its place nobody is to wait for the writer.
            flags |= libc::O_NONBLOCK;
        }
        // What was opened is checked all the same.
        let _rights = reader.map(|reader| FileRights::of(reader.uid, reader.gid, &[]));
        File::options().read(true).custom_flags(flags).open(&self.path)
    }

    /// Its folder may not be entered, as where HOME is another user's: whether there is such a file is not for us to know. Who
    /// calls sudo has named the folder, and is told.
    fn is_hidden(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether this is a file to read, and one that the user for whom we read could read.
    fn check(&self, meta: &Metadata, reader: Option<&Reader>) -> Result<(), &'static str> {
        if meta.is_dir() {
            return Err("it is a folder: a configuration is a file");
        }
        if self.named && !meta.is_file() {
            // Such as the pipe of a shell's <(...), which holds nothing but what was written into it.
            return Ok(());
        }
        if !meta.is_file() {
            return Err("it is no regular file");
        }
        let Some(reader) = reader else { return Ok(()) };
        if !self.named && meta.uid() != reader.uid && meta.uid() != 0 {
            return Err("as root it is read only where it belongs to root or to who called sudo");
        }
        let bit = match (meta.uid() == reader.uid, meta.gid() == reader.gid) {
            (true, _) => 0o400,
            (false, true) => 0o040,
            (false, false) => 0o004,
        };
        if meta.mode() & bit == 0 {
            return Err("it cannot be read by who called sudo: let its mode allow that");
        }
        Ok(())
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder that goes when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("numatrace-place-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn found(vars: &[(&str, &str)], reader: Option<Reader>, named: Option<&str>) -> Option<String> {
        let var = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let place = Place::find(named.map(Path::new), &Surroundings { var: &var, reader })?;
        Some(place.path.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_file_is_in_the_folder_of_the_user() {
        let (xdg, home) = (("XDG_CONFIG_HOME", "/x"), ("HOME", "/home/me"));
        let someone = |home: Option<&str>| Some(Reader { uid: 1234, gid: 1234, home: home.map(PathBuf::from) });
        let root = Some(Reader { uid: 0, gid: 0, home: Some("/home/admin".into()) });
        let of = |vars: &[(&str, &str)], reader| found(vars, reader, None);
        assert_eq!(of(&[xdg, home], None).as_deref(), Some("/x/numatrace/config.toml"));
        assert_eq!(of(&[home], None).as_deref(), Some("/home/me/.config/numatrace/config.toml"));
        assert_eq!(of(&[("XDG_CONFIG_HOME", "x"), home], None), of(&[home], None), "a relative path is none");
        assert_eq!(of(&[("XDG_CONFIG_HOME", ""), home], None), of(&[home], None));
        assert_eq!([of(&[], None), of(&[home], someone(None))], [None, None]);
        // Under sudo, HOME may be root's or not.
        let sudo = of(&[("HOME", "/home/admin")], someone(Some("/home/them")));
        assert_eq!(sudo.as_deref(), Some("/home/them/.config/numatrace/config.toml"));
        assert_eq!(of(&[], root).as_deref(), Some("/home/admin/.config/numatrace/config.toml"));
        assert_eq!(found(&[xdg], None, Some("a/file")).as_deref(), Some("a/file"));
    }

    fn refusal(path: &Path, named: bool, reader: Option<&Reader>) -> String {
        Place { path: path.to_owned(), named }.read(reader).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_cannot_be_a_configuration_is_refused_in_a_sentence() {
        let folder = Folder::new("kinds");
        let missing = folder.0.join("none");
        assert_eq!(Place { path: missing.clone(), named: false }.read(None), Ok(None));
        let below = folder.file("plain", b"", 0o644).join("numatrace/config.toml");
        assert_eq!(Place { path: below, named: false }.read(None), Ok(None));
        assert!(
            refusal(&missing, true, None).ends_with("/none: it cannot be read: No such file or directory (os error 2)")
        );
        assert!(refusal(&folder.0, true, None).contains("it is a folder"));
        let large = folder.file("large", &vec![b'#'; (64 << 10) + 1], 0o644);
        assert!(refusal(&large, false, None).contains("larger than 64 KiB"));
        let most = folder.file("most", &vec![b'#'; 64 << 10], 0o644);
        assert!(Place { path: most, named: false }.read(None).is_ok_and(|text| text.is_some()));
        let latin = folder.file("latin", b"# one\n# \xfc\n", 0o644);
        assert!(refusal(&latin, false, None).contains("/latin, line 2: it is not in UTF-8"));
        // A pipe that nobody writes to is not waited for.
        let pipe = folder.0.join("pipe");
        let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path with its NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(refusal(&pipe, false, None).contains("no regular file"));
        // Links are followed: with the reader's rights, that shows nothing that they could not see.
        let link = folder.0.join("link");
        symlink(folder.file("target", b"theme = 1", 0o644), &link).unwrap();
        assert_eq!(Place { path: link.clone(), named: false }.read(None), Ok(Some("theme = 1".into())));
    }

    /// Runs where tests are root: else there is nobody else to read for.
    #[test]
    fn as_root_no_more_is_read_than_the_user_could() {
        // SAFETY: no preconditions.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let folder = Folder::new("sudo");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        let user = Reader { uid: 65_534, gid: 65_534, home: None };
        let secret = folder.file("secret", b"root:$6$", 0o600);
        for named in [false, true] {
            let said = refusal(&secret, named, Some(&user));
            assert!(said.contains("it cannot be read: Permission denied") && !said.contains("$6$"), "{said}");
        }
        let public = folder.file("public", b"theme", 0o644);
        for named in [false, true] {
            assert_eq!(Place { path: public.clone(), named }.read(Some(&user)), Ok(Some("theme".into())));
        }
        // A third one's file, though everybody may read it.
        let other = folder.file("other", b"theme", 0o644);
        std::os::unix::fs::chown(&other, Some(4321), Some(4321)).unwrap();
        assert!(refusal(&other, false, Some(&user)).contains("belongs to root or to who called sudo"));
        // A folder that the user may not enter.
        let closed = folder.0.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "theme").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(refusal(&closed.join("file"), false, Some(&user)).contains("Permission denied"));
        // Our own rights are back.
        assert!(fs::read(&secret).is_ok() && fs::read(closed.join("file")).is_ok());
        // A mode of the user's own file that shuts out its owner.
        let own = folder.file("own", b"theme", 0o600);
        std::os::unix::fs::chown(&own, Some(65_534), Some(65_534)).unwrap();
        assert_eq!(Place { path: own, named: false }.read(Some(&user)), Ok(Some("theme".into())));
    }

    #[test]
    fn a_file_is_checked_whatever_rights_opened_it() {
        let folder = Folder::new("checked");
        let meta = |mode| fs::metadata(folder.file(&format!("{mode:o}"), b"", mode)).unwrap();
        let owner = fs::metadata(&folder.0).unwrap().uid();
        let place = |named| Place { path: PathBuf::new(), named };
        let someone = Reader { uid: owner + 1, gid: u32::MAX - 9, home: None };
        let me = Reader { uid: owner, ..someone.clone() };
        assert_eq!(place(true).check(&meta(0o604), Some(&someone)), Ok(()));
        assert!(place(true).check(&meta(0o640), Some(&someone)).is_err());
        assert_eq!(place(false).check(&meta(0o600), Some(&me)), Ok(()));
        assert!(place(false).check(&meta(0o044), Some(&me)).is_err());
    }
}
