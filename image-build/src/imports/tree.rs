//! The module tree of each crate: which file a module stands in, what it defines, what it imports.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use syn::{Expr, Item, ItemMod, Lit, Meta};

use super::paths::{self, Use};

/// A module's number.
pub(crate) type ModuleId = usize;

/// Where a crate begins.
pub(crate) struct Root {
    /// What other crates call it, if they can.
    pub(crate) library: Option<String>,
    /// Its first file.
    pub(crate) path: PathBuf,
}

/// What a name in a module stands for.
pub(crate) enum Definition {
    Module(ModuleId),
    /// Any other item.
    Item,
    /// Something that lies at this path.
    Import(Vec<String>),
}

/// A module, inline or in a file.
pub(crate) struct Module {
    /// The number of the file that it stands in.
    pub(crate) file: usize,
    /// Its crate's root; itself if it is one.
    pub(crate) root: ModuleId,
    pub(crate) parent: Option<ModuleId>,
    /// A name may stand for a type, a value and a macro at once.
    pub(crate) names: HashMap<String, Vec<Definition>>,
    /// Modules whose names are all imported.
    pub(crate) globs: Vec<Vec<String>>,
    /// Every path that is named in it, those of `use` among them.
    pub(crate) paths: Vec<Vec<String>>,
}

/// All crates.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) modules: Vec<Module>,
    pub(crate) files: Vec<PathBuf>,
    /// Crates that others can name.
    pub(crate) libraries: HashMap<String, ModuleId>,
}

impl Workspace {
    /// Reads the crates that begin at these roots.
    ///
    /// # Errors
    /// When a file is missing, cannot be read, or is not Rust.
    pub(crate) fn parse(roots: &[Root]) -> Result<Self> {
        let mut workspace = Self::default();
        for root in roots {
            let id = workspace.add(None, workspace.modules.len(), 0);
            workspace.read(id, &root.path, root.path.parent().unwrap_or(Path::new("")))?;
            if let Some(name) = &root.library {
                workspace.libraries.insert(name.clone(), id);
            }
        }
        Ok(workspace)
    }

    fn add(&mut self, parent: Option<ModuleId>, root: ModuleId, file: usize) -> ModuleId {
        self.modules.push(Module {
            file,
            root,
            parent,
            names: HashMap::new(),
            globs: Vec::new(),
            paths: Vec::new(),
        });
        self.modules.len() - 1
    }

    /// Reads a module from its file; the files of its children lie in `folder`.
    fn read(&mut self, id: ModuleId, path: &Path, folder: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        // A file may be a module of two crates, such as a library and a program.
        let known = self.files.iter().position(|known| known == path);
        self.modules[id].file = known.unwrap_or(self.files.len());
        if known.is_none() {
            self.files.push(path.to_owned());
        }
        self.fill(id, &parsed.items, path, folder)
    }

    fn fill(&mut self, id: ModuleId, items: &[Item], path: &Path, folder: &Path) -> Result<()> {
        for item in items {
            if let Item::Mod(module) = item {
                self.child(id, module, path, folder)?;
            } else if let Some(name) = name_of(item) {
                self.define(id, name, Definition::Item);
            }
        }
        let (uses, paths) = paths::of(items);
        for Use { path, name } in uses {
            match name.as_deref() {
                None => self.modules[id].globs.push(path),
                Some("_") => self.modules[id].paths.push(path),
                Some(name) => {
                    self.define(id, name.to_owned(), Definition::Import(path.clone()));
                    self.modules[id].paths.push(path);
                }
            }
        }
        self.modules[id].paths.extend(paths);
        Ok(())
    }

    fn child(&mut self, parent: ModuleId, module: &ItemMod, path: &Path, folder: &Path) -> Result<()> {
        let name = module.ident.to_string();
        let id = self.add(Some(parent), self.modules[parent].root, self.modules[parent].file);
        self.define(parent, name.clone(), Definition::Module(id));
        if let Some((_, items)) = &module.content {
            return self.fill(id, items, path, &folder.join(name));
        }
        if let Some(given) = path_attribute(module) {
            let file = path.with_file_name(given);
            return self.read(id, &file, &file.with_extension(""));
        }
        let (flat, deep) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
        match [flat, deep].into_iter().find(|file| file.is_file()) {
            Some(file) => self.read(id, &file, &folder.join(name)),
            None => bail!("{}: no file for module {name}", path.display()),
        }
    }

    fn define(&mut self, module: ModuleId, name: String, definition: Definition) {
        self.modules[module].names.entry(name).or_default().push(definition);
    }
}

/// The name that an item other than a module or an import defines.
fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn path_attribute(module: &ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}
