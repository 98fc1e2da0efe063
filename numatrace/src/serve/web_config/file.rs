//! The file itself: its keys, and what they come to.

use std::{collections::HashMap, path::Path, sync::Arc};

use hyper::header::{self, HeaderName, HeaderValue};
use serde::{Deserialize, de::IgnoredAny};

use super::{Loaded, tls};
use crate::serve::auth::{Auth, cost};

/// A bcrypt hash of a greater cost takes seconds, longer than Prometheus waits.
const COSTLIEST: u32 = 14;
const USERS: usize = 1_000;

/// The keys that there are. Those that are not supported are known, so that they can be refused with a reason.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    tls_server_config: Option<tls::Section>,
    http_server_config: Option<Http>,
    basic_auth_users: Option<HashMap<String, String>>,
    rate_limit: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    http2: Option<bool>,
    headers: Option<Headers>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Headers {
    #[serde(rename = "Content-Security-Policy")]
    content_security_policy: Option<String>,
    #[serde(rename = "X-Frame-Options")]
    x_frame_options: Option<String>,
    #[serde(rename = "X-Content-Type-Options")]
    x_content_type_options: Option<String>,
    #[serde(rename = "X-XSS-Protection")]
    x_xss_protection: Option<String>,
    #[serde(rename = "Strict-Transport-Security")]
    strict_transport_security: Option<String>,
}

/// The keys and values of a file.
pub(super) fn parse(bytes: &[u8]) -> Result<File, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    // An empty document is a configuration that says nothing.
    let options = serde_saphyr::options! { with_snippet: false };
    let file: Option<File> = serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    Ok(file.unwrap_or_default())
}

impl File {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.tls_server_config.iter().flat_map(tls::Section::files)
    }

    /// What it comes to. Relative paths are meant from `folder`; `old` is kept where users are the same.
    pub(super) fn load(self, folder: &Path, old: Option<&Arc<Auth>>) -> Result<Loaded, String> {
        if self.rate_limit.is_some() {
            return Err(
                "rate_limit is not supported: leave it out; scrapes within a second share one collection".into()
            );
        }
        let tls = self.tls_server_config.map(|section| section.load(folder)).transpose()?;
        let auth = users(self.basic_auth_users.unwrap_or_default(), old)?;
        let http = self.http_server_config.unwrap_or_default();
        if http.http2 == Some(true) {
            return Err(
                "http_server_config.http2: true is not supported: HTTP/1.1 is spoken; leave it out or set it to false"
                    .into(),
            );
        }
        Ok(Loaded { tls, auth, headers: http.headers.unwrap_or_default().load()? })
    }
}

fn users(users: HashMap<String, String>, old: Option<&Arc<Auth>>) -> Result<Option<Arc<Auth>>, String> {
    if users.len() > USERS {
        return Err(format!("basic_auth_users has more than {USERS} users"));
    }
    for (name, hash) in &users {
        if name.is_empty() || name.contains(':') {
            return Err("basic_auth_users: a name is empty or has a colon".into());
        }
        match cost(hash) {
            None => {
                return Err(format!(
                    "basic_auth_users: the password of {name} is no bcrypt hash; htpasswd -nBC 10 \"\" makes one"
                ));
            }
            Some(cost @ COSTLIEST..) if cost > COSTLIEST => {
                return Err(format!(
                    "basic_auth_users: the hash of {name} has a cost of {cost}; {COSTLIEST} at most is supported, because each more takes twice as long"
                ));
            }
            Some(_) => {}
        }
    }
    let kept = old.filter(|old| old.has(&users)).cloned();
    Ok(kept.or_else(|| Auth::new(users).map(Arc::new)))
}

impl Headers {
    fn load(self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let one_of = |name: &str, value: &Option<String>, known: &[&str]| match value {
            Some(value) if !value.is_empty() && !known.contains(&value.as_str()) => {
                Err(format!("http_server_config.headers: {name} can be {}", known.join(" or ")))
            }
            _ => Ok(()),
        };
        one_of("X-Frame-Options", &self.x_frame_options, &["deny", "sameorigin"])?;
        one_of("X-Content-Type-Options", &self.x_content_type_options, &["nosniff"])?;
        let all = [
            (header::CONTENT_SECURITY_POLICY, self.content_security_policy),
            (header::X_FRAME_OPTIONS, self.x_frame_options),
            (header::X_CONTENT_TYPE_OPTIONS, self.x_content_type_options),
            (header::X_XSS_PROTECTION, self.x_xss_protection),
            (header::STRICT_TRANSPORT_SECURITY, self.strict_transport_security),
        ];
        let said = all.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
        said.map(|(name, value)| match HeaderValue::from_str(&value) {
            Ok(value) => Ok((name, value)),
            Err(_) => {
                Err(format!("http_server_config.headers: the value of {name} has characters that a header cannot have"))
            }
        })
        .collect()
    }
}
