//! The software bill of materials (SBOM): every Debian package and every crate of an image, in CycloneDX 1.5
//! (ECMA-424).

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cargo;

/// The packages of the checkout that are compiled into an image.
const OURS: [&str; 2] = ["holobooth", "holobooth-card"];

/// mkosi's list of what it installed.
#[derive(Deserialize)]
struct Manifest {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    architecture: String,
}

/// What `cargo metadata` says of the checkout.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Crate {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Which crate needs which.
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

/// None for what is linked; else `dev` or `build`.
#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// The crates that end up in [`OURS`]; with the features that the whole checkout asks of them.
    fn linked(&self) -> Vec<&Crate> {
        let ours = |c: &&Crate| c.source.is_none() && OURS.contains(&c.name.as_str());
        let mut todo: Vec<&str> = self.packages.iter().filter(ours).map(|c| c.id.as_str()).collect();
        let mut linked = HashSet::new();
        while let Some(id) = todo.pop() {
            if !linked.insert(id) {
                continue;
            }
            let deps = self.resolve.nodes.iter().filter(|node| node.id == id).flat_map(|node| &node.deps);
            let normal = deps.filter(|dep| dep.dep_kinds.iter().any(|of| of.kind.is_none()));
            todo.extend(normal.map(|dep| dep.pkg.as_str()));
        }
        self.packages.iter().filter(|c| linked.contains(c.id.as_str())).collect()
    }
}

/// The SBOM of the image that `manifest` belongs to, as JSON.
///
/// # Errors
/// When mkosi left no manifest, or cargo cannot say what the booth is made of.
pub(super) fn of_image(manifest: &Path, version: &str) -> Result<String> {
    let text = std::fs::read(manifest)
        .with_context(|| format!("mkosi left no list of packages at {}", manifest.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).context("mkosi's list of packages is not as known")?;
    let out = cargo::cargo()
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"])
        .output()
        .context("cannot run cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let metadata: Metadata =
        serde_json::from_slice(&out.stdout).context("cargo metadata says nothing that is known")?;
    Ok(serde_json::to_string_pretty(&cyclonedx(&manifest.packages, &metadata.linked(), version))?)
}

fn cyclonedx(packages: &[Package], crates: &[&Crate], version: &str) -> Value {
    let debian = packages.iter().map(|Package { name, version, architecture }| {
        let purl = format!("pkg:deb/debian/{name}@{version}?arch={architecture}");
        json!({"type": "library", "name": name, "version": version, "purl": purl})
    });
    let crates = crates.iter().filter(|c| c.source.is_some()).map(|Crate { name, version, license, .. }| {
        let mut component = json!({
            "type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}"),
        });
        if let Some(license) = license {
            component["licenses"] = json!([{"expression": license}]);
        }
        component
    });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "name": "holobooth", "version": version}},
        "components": debian.chain(crates).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_crate(name: &str, foreign: bool) -> Crate {
        Crate {
            id: name.into(),
            name: name.into(),
            version: "1.0.0".into(),
            license: Some("MIT".into()),
            source: foreign.then(|| "registry".into()),
        }
    }

    #[test]
    fn packages_and_crates_are_told_apart() {
        let package = Package { name: "udev".into(), version: "257".into(), architecture: "amd64".into() };
        let sbom = cyclonedx(&[package], &[&a_crate("c", true), &a_crate("c", false)], "2");
        let components = sbom["components"].as_array().unwrap();
        assert_eq!(components.len(), 2, "what is in the checkout is the component itself");
        assert_eq!(components[0]["purl"], "pkg:deb/debian/udev@257?arch=amd64");
        assert_eq!(components[1]["licenses"][0]["expression"], "MIT");
    }
    #[test]
    fn only_what_is_linked_into_the_booth_is_listed() {
        let text = r#"{
            "packages": [
                {"id": "1", "name": "holobooth", "version": "1.0.0"}, {"id": "2", "name": "xtask", "version": "1.0.0"},
                {"id": "3", "name": "a", "version": "1.0.0", "source": "r"}, {"id": "4", "name": "b", "version": "1.0.0", "source": "r"},
                {"id": "5", "name": "c", "version": "1.0.0", "source": "r"}, {"id": "6", "name": "d", "version": "1.0.0", "source": "r"}
            ],
            "resolve": {"nodes": [
                {"id": "1", "deps": [{"pkg": "3", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
                                     {"pkg": "4", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "2", "deps": [{"pkg": "5", "dep_kinds": [{"kind": null}]}]},
                {"id": "3", "deps": [{"pkg": "6", "dep_kinds": [{"kind": null}]},
                                     {"pkg": "4", "dep_kinds": [{"kind": "build"}]}]},
                {"id": "4", "deps": []}, {"id": "5", "deps": []}, {"id": "6", "deps": [{"pkg": "3", "dep_kinds": [{"kind": null}]}]}
            ]}
        }"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let names: Vec<_> = metadata.linked().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["holobooth", "a", "d"]);
    }
}
