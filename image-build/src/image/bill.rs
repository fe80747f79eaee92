//! The bill of materials: every Debian package and every crate of an image, as CycloneDX 1.5 (ECMA-424) has it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cargo;

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

/// What `cargo metadata` says of a crate.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// The bill of the image that `manifest` belongs to.
///
/// # Errors
/// When mkosi left no manifest, or cargo cannot say what the booth is made of.
pub(super) fn of_materials(manifest: &Path, version: &str) -> Result<String> {
    let text = std::fs::read(manifest)
        .with_context(|| format!("mkosi left no list of packages at {}", manifest.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).context("mkosi's list of packages is not as known")?;
    let out = cargo::cargo()
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"])
        .output()
        .context("cannot run cargo metadata")?;
    let metadata: Metadata =
        serde_json::from_slice(&out.stdout).context("cargo metadata says nothing that is known")?;
    Ok(serde_json::to_string_pretty(&bill(&manifest.packages, &metadata.packages, version))?)
}

fn bill(packages: &[Package], crates: &[Crate], version: &str) -> Value {
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

    #[test]
    fn packages_and_crates_are_told_apart() {
        let package = Package { name: "udev".into(), version: "257".into(), architecture: "amd64".into() };
        let registry = Some("registry".to_owned());
        let of =
            |source| Crate { name: "c".into(), version: "1.0.0".into(), license: Some("MIT".into()), source };
        let bill = bill(&[package], &[of(registry), of(None)], "2");
        let components = bill["components"].as_array().unwrap();
        assert_eq!(components.len(), 2, "what is in the checkout is the component itself");
        assert_eq!(components[0]["purl"], "pkg:deb/debian/udev@257?arch=amd64");
        assert_eq!(components[1]["licenses"][0]["expression"], "MIT");
    }
}
