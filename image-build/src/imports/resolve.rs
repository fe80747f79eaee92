//! From a path to the file that defines what it names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::tree::{Definition, ModuleId, Workspace};

/// Which items a file (first) names of another (second), by their numbers.
pub(crate) type Imports = BTreeMap<(usize, usize), BTreeSet<String>>;

/// What a path leads to.
#[derive(Clone, PartialEq)]
enum Target {
    Module(ModuleId),
    Item { file: usize, name: String },
}

/// All imports between files.
pub(crate) fn imports(workspace: &Workspace) -> Imports {
    let mut imports = Imports::new();
    for (id, module) in workspace.modules.iter().enumerate() {
        let mut add = |target: Target, glob: bool| {
            let (file, name) = match target {
                Target::Item { file, name } => (file, name),
                Target::Module(from) if glob => (workspace.modules[from].file, "*".to_owned()),
                // A module is named on the way to what is in it.
                Target::Module(_) => return,
            };
            if file != module.file {
                imports.entry((module.file, file)).or_default().insert(name);
            }
        };
        let resolver = |path: &[String]| Resolver { workspace, seen: HashSet::new() }.path(id, path);
        for path in &module.paths {
            resolver(path).into_iter().for_each(|target| add(target, false));
        }
        for path in &module.globs {
            resolver(path).into_iter().for_each(|target| add(target, true));
        }
    }
    imports
}

struct Resolver<'a> {
    workspace: &'a Workspace,
    /// Names that are being looked up, against imports that lead back to themselves.
    seen: HashSet<(ModuleId, String)>,
}

impl Resolver<'_> {
    /// What a path in this module leads to; nothing when it leads out of the workspace.
    fn path(&mut self, module: ModuleId, path: &[String]) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let here = &self.workspace.modules[module];
        let mut targets = match (first.as_str(), here.parent) {
            ("crate", _) => vec![Target::Module(here.root)],
            ("self", _) => vec![Target::Module(module)],
            ("super", Some(parent)) => vec![Target::Module(parent)],
            ("super" | "", _) => Vec::new(),
            (name, _) => self.name(module, name),
        };
        let mut rest = rest;
        if targets.is_empty() {
            let (library, after) = match (first.as_str(), rest.split_first()) {
                ("", Some((library, after))) => (library, after),
                _ => (first, rest),
            };
            targets.extend(self.workspace.libraries.get(library).map(|&root| Target::Module(root)));
            rest = after;
        }
        for name in rest {
            targets = self.step(&targets, name);
        }
        targets
    }

    fn step(&mut self, from: &[Target], name: &str) -> Vec<Target> {
        let modules = from.iter().filter_map(|target| match target {
            Target::Module(module) => Some(*module),
            Target::Item { .. } => None,
        });
        let modules: Vec<ModuleId> = modules.collect();
        if modules.is_empty() {
            // A variant or an associated item of what was found.
            return from.to_vec();
        }
        let mut found = Vec::new();
        for module in modules {
            let targets = match (name, self.workspace.modules[module].parent) {
                ("super", Some(parent)) => vec![Target::Module(parent)],
                ("self", _) => vec![Target::Module(module)],
                _ => self.name(module, name),
            };
            if targets.is_empty() {
                // Made by a macro, or another crate's.
                let file = self.workspace.modules[module].file;
                found.push(Target::Item { file, name: name.to_owned() });
            }
            found.extend(targets);
        }
        found
    }

    /// What a name stands for in a module.
    fn name(&mut self, module: ModuleId, name: &str) -> Vec<Target> {
        if !self.seen.insert((module, name.to_owned())) {
            return Vec::new();
        }
        let here = &self.workspace.modules[module];
        let mut found: Vec<Target> = Vec::new();
        for definition in here.names.get(name).into_iter().flatten() {
            match definition {
                Definition::Module(child) => found.push(Target::Module(*child)),
                Definition::Item => found.push(Target::Item { file: here.file, name: name.to_owned() }),
                Definition::Import(path) => found.extend(self.path(module, path)),
            }
        }
        if !here.names.contains_key(name) {
            for glob in &here.globs {
                for target in self.path(module, glob) {
                    if let Target::Module(from) = target {
                        found.extend(self.name(from, name));
                    }
                }
            }
        }
        self.seen.remove(&(module, name.to_owned()));
        found
    }
}
