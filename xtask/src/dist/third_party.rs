//! Names, licences and licence texts of the crates that the program is linked with: who passes on the program passes on theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::binary;
use crate::shell::{command, output};

/// One text for all of them: first a list, then each text once, with the crates that it is of.
pub(super) fn notices() -> Result<Vec<u8>> {
    let mut cargo = command("cargo");
    cargo.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &binary::target()]);
    let metadata: Value = serde_json::from_str(&output(&mut cargo)?).context("cargo's metadata is not JSON")?;
    let linked = linked(&metadata)?;
    let mut list = String::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        if !linked.contains(text("id")) || package["source"].is_null() {
            continue;
        }
        let name = format!("{} {}", text("name"), text("version"));
        let licence = if text("license").is_empty() { "see its text" } else { text("license") };
        list += &format!("{name}: {licence}\n");
        for file in licence_files(Path::new(text("manifest_path")))? {
            texts.entry(file).or_default().push(name.clone());
        }
    }
    if list.is_empty() {
        bail!("cargo names no crate that numatrace is linked with");
    }
    let mut all = format!("numatrace is linked with these crates:\n\n{list}");
    for (text, names) in texts {
        all += &format!("\n{}\n{}\n\n{}\n", "=".repeat(72), names.join(", "), text.trim());
    }
    Ok(all.into_bytes())
}

/// Ids of numatrace and all that it depends on when it runs: nothing that only builds or tests it.
fn linked(metadata: &Value) -> Result<BTreeSet<&str>> {
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let numatrace = packages.into_iter().find(|package| package["name"] == "numatrace");
    let start = numatrace.and_then(|package| package["id"].as_str()).context("cargo knows no package numatrace")?;
    let mut found = BTreeSet::new();
    let mut next = vec![start];
    while let Some(id) = next.pop() {
        if !found.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten();
        let runs = |dependency: &&Value| {
            dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null())
        };
        next.extend(dependencies.filter(runs).filter_map(|dependency| dependency["pkg"].as_str()));
    }
    Ok(found)
}

/// Texts of the files beside a manifest that are called as licences are.
fn licence_files(manifest: &Path) -> Result<BTreeSet<String>> {
    let folder = manifest.parent().unwrap_or(manifest);
    let mut texts = BTreeSet::new();
    for entry in folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE"]
            .iter()
            .any(|word| name.starts_with(word));
        if is_licence && entry.path().is_file() {
            let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
            texts.insert(String::from_utf8_lossy(&bytes).replace('\r', ""));
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_linked_counts() {
        let metadata = serde_json::json!({
            "packages": [{"name": "numatrace", "id": "n"}, {"name": "a", "id": "a"}],
            "resolve": {"nodes": [
                {"id": "n", "deps": [
                    {"pkg": "a", "dep_kinds": [{"kind": null}]},
                    {"pkg": "built", "dep_kinds": [{"kind": "build"}]},
                    {"pkg": "tested", "dep_kinds": [{"kind": "dev"}]},
                ]},
                {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": "dev"}, {"kind": null}]}]},
                {"id": "b", "deps": []},
                {"id": "built", "deps": []},
                {"id": "tested", "deps": []},
            ]},
        });
        assert_eq!(linked(&metadata).unwrap().into_iter().collect::<Vec<_>>(), ["a", "b", "n"]);
    }
}
