//! The check that no two files of the workspace import each other, directly or in a longer circle.
//!
//! An import is any path that names an item of another file: in a `use`, in code, in a macro's tokens, in an
//! attribute's string. A path counts towards the file that *defines* the item: re-exports are followed. A
//! `mod child;` declaration imports nothing, but `pub use child::Item` does. Tests count like other code.
//!
//! Not seen: methods of a type that no path names, and names that only a macro's expansion holds.

mod paths;
mod resolve;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use crate::{cargo, folders};
use resolve::Imports;
use tree::{Root, Workspace};

/// Checks every target of the workspace.
///
/// # Errors
/// When files import each other: the message names them and what they import. When a file cannot be parsed.
pub(crate) fn check() -> Result<()> {
    let checkout = folders::clean(folders::checkout());
    let workspace = Workspace::parse(&roots()?)?;
    let imports = resolve::imports(&workspace);
    match report(&imports, &|file| shown(&workspace.files[file], &checkout)) {
        None => Ok(()),
        Some(cycles) => bail!("{cycles}"),
    }
}

/// The first file of each target, as `cargo metadata` has them.
fn roots() -> Result<Vec<Root>> {
    let output = cargo::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .context("cannot run cargo: install Rust from https://rustup.rs")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
    Ok(targets
        .map(|target| Root {
            library: target.kind.iter().any(|kind| kind == "lib").then(|| target.name.replace('-', "_")),
            path: target.src_path,
        })
        .collect())
}

#[derive(serde::Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(serde::Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(serde::Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

/// What is wrong, or `None` when nothing is. `name` gives the name of a file by its number.
fn report(imports: &Imports, name: &dyn Fn(usize) -> String) -> Option<String> {
    let graph: DiGraphMap<usize, ()> = imports.keys().copied().collect();
    let cycles: Vec<Vec<usize>> = tarjan_scc(&graph).into_iter().filter(|files| files.len() > 1).collect();
    let mut text = String::new();
    for cycle in &cycles {
        let edges: BTreeMap<(String, String), String> = imports
            .iter()
            .filter(|((from, to), _)| cycle.contains(from) && cycle.contains(to))
            .map(|((from, to), items)| {
                ((name(*from), name(*to)), items.iter().cloned().collect::<Vec<_>>().join(", "))
            })
            .collect();
        let _ = writeln!(text, "{} files import each other:", cycle.len());
        for ((from, to), items) in edges {
            let _ = writeln!(text, "  {from} imports {items} from {to}");
        }
    }
    let advice = "Move what both sides need into a file that imports neither.";
    (!cycles.is_empty()).then(|| format!("{text}{advice}"))
}

fn shown(file: &Path, checkout: &Path) -> String {
    file.strip_prefix(checkout).unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles among these files of one crate, `lib.rs` first; `None` when there are none.
    fn cycles(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root { library: Some("home".into()), path: dir.path().join(files[0].0) };
        let workspace = Workspace::parse(&[root]).unwrap();
        let imports = resolve::imports(&workspace);
        report(&imports, &|file| shown(&workspace.files[file], dir.path()))
    }

    #[test]
    fn declaring_modules_is_no_import() {
        assert_eq!(
            cycles(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")]),
            None
        );
    }

    #[test]
    fn two_files_that_import_each_other_are_named_with_what_ties_them() {
        let text = cycles(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A(B);"),
            ("b.rs", "pub struct B; fn f(_: super::a::A) {}"),
        ])
        .unwrap();
        assert!(text.contains("2 files"), "{text}");
        assert!(text.contains("a.rs imports B from b.rs"), "{text}");
        assert!(text.contains("b.rs imports A from a.rs"), "{text}");
    }

    #[test]
    fn a_circle_of_three_across_folders_is_found() {
        let text = cycles(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "pub mod c; pub const A: u8 = crate::b::B;"),
            ("a/c.rs", "pub const C: u8 = super::A;"),
            ("b.rs", "use crate::a::c; pub const B: u8 = c::C;"),
        ]);
        assert!(text.unwrap().contains("3 files"));
    }

    #[test]
    fn a_re_export_leads_to_the_file_that_defines() {
        let files = |b| {
            [
                ("lib.rs", "mod a; mod error; mod b; pub use error::Error; pub use b::*;"),
                ("a.rs", "pub type A = Result<(), super::Error>;"),
                ("error.rs", "pub struct Error;"),
                ("b.rs", b),
            ]
        };
        // Were `super::Error` taken for an item of lib.rs, this would be a cycle.
        assert_eq!(cycles(&files("pub type B = crate::a::A;")), None);
        assert!(cycles(&files("use crate::a::A; pub use crate::error::*;")).is_none());
        let error = ("error.rs", "pub struct Error(super::A); pub use super::a::A;");
        assert!(cycles(&[("lib.rs", "mod a; mod error; use error::A;"), error, files("")[1]]).is_some());
    }

    #[test]
    fn a_parent_that_re_exports_a_child_that_uses_it_is_a_cycle() {
        let child = ("b.rs", "pub struct B(super::L);");
        assert!(cycles(&[("lib.rs", "mod b; pub struct L;"), child]).is_none());
        assert!(cycles(&[("lib.rs", "mod b; pub use b::B; pub struct L;"), child]).is_some());
        assert!(cycles(&[("lib.rs", "mod b; pub use b::*; pub struct L;"), child]).is_some());
    }

    #[test]
    fn paths_are_seen_wherever_they_stand() {
        for use_of_b in [
            "fn f() { use crate::b::B; }",
            "mod inline { use super::super::b::B; }",
            "use crate::{b::{B as Other}};",
            "use home::b::B;",
            "use crate::*; fn f() { b::B; }",
            "use crate::b::*; fn f() { B; }",
            "use crate::b; fn f() { assert!(matches!(1, b::B::Variant)); }",
            "impl crate::b::B for u8 {}",
            "#[serde(with = \"crate::b::B\")] struct S;",
            "fn f() { vec![crate::b::made_by_a_macro]; }",
            "#[cfg(test)] mod tests { use crate::b::B; }",
        ] {
            let a = format!("pub struct A; {use_of_b}");
            let text = cycles(&[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", &a),
                ("b.rs", "pub struct B; use crate::a::A;"),
            ]);
            assert!(text.is_some(), "{use_of_b}");
        }
    }

    #[test]
    fn what_is_not_the_workspace_s_is_no_import() {
        let a = "use std::fmt; /// See [`crate::b::B`].\n pub struct A(fmt::Error, ::b::B);";
        assert_eq!(
            cycles(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "pub struct B(crate::a::A);")]),
            None
        );
    }

    #[test]
    fn modules_are_found_as_the_compiler_finds_them() {
        let text = cycles(&[
            ("src/lib.rs", "mod a { pub mod inner; } #[path = \"odd.rs\"] mod b;"),
            ("src/a/inner.rs", "pub struct A(crate::b::B);"),
            ("src/odd.rs", "mod c; pub use c::B;"),
            ("src/odd/c.rs", "pub struct B; use crate::a::inner::A;"),
        ]);
        assert!(text.unwrap().contains("src/odd/c.rs imports A from src/a/inner.rs"));
    }

    #[test]
    fn a_file_that_is_missing_or_broken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib.rs");
        let parse = |text| {
            std::fs::write(&path, text).unwrap();
            let error = Workspace::parse(&[Root { library: None, path: path.clone() }]).err().unwrap();
            format!("{error:#}")
        };
        assert!(parse("mod a;").contains("lib.rs: no file for module a"));
        assert!(parse("mod {").contains("lib.rs"));
    }
}
