//! The paths that stand in a module's own code; those of modules inside it are left out.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, LitStr, Macro, MetaList, MetaNameValue, Path, UseTree};

/// A leaf of a `use` tree.
pub(crate) struct Use {
    /// What is imported.
    pub(crate) path: Vec<String>,
    /// What it is called here; `None` when all of it is imported.
    pub(crate) name: Option<String>,
}

/// What these items import, and the paths they name. A leading `::` is an empty first segment.
pub(crate) fn of(items: &[Item]) -> (Vec<Use>, Vec<Vec<String>>) {
    let mut collector = Collector::default();
    for item in items {
        collector.visit_item(item);
    }
    (collector.uses, collector.paths)
}

#[derive(Default)]
struct Collector {
    uses: Vec<Use>,
    paths: Vec<Vec<String>>,
}

impl Collector {
    fn leaves(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.leaves(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.leaves(before, tree)),
            UseTree::Glob(_) => self.uses.push(Use { path: before.to_vec(), name: None }),
            UseTree::Name(leaf) => self.leaf(with(&leaf.ident), None),
            UseTree::Rename(leaf) => self.leaf(with(&leaf.ident), Some(leaf.rename.to_string())),
        }
    }

    fn leaf(&mut self, mut path: Vec<String>, name: Option<String>) {
        // `a::{self}` imports `a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = name.or_else(|| path.last().cloned());
        self.uses.push(Use { path, name });
    }

    /// Paths in what only the macro itself understands: words joined by `::`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':') {
                colons += 1;
                continue;
            }
            let joined = colons == 2;
            colons = 0;
            let goes_on = joined && matches!(token, TokenTree::Ident(_));
            if !goes_on && !path.is_empty() {
                self.paths.push(std::mem::take(&mut path));
            }
            match token {
                TokenTree::Ident(ident) => {
                    if joined && path.is_empty() {
                        path.push(String::new());
                    }
                    path.push(ident.to_string());
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => self.string(&literal.to_string()),
                TokenTree::Punct(_) => {}
            }
        }
        if !path.is_empty() {
            self.paths.push(path);
        }
    }

    /// A string that holds a path, as serde's attributes do.
    fn string(&mut self, literal: &str) {
        if let Ok(path) = syn::parse_str::<LitStr>(literal).and_then(|text| text.parse::<Path>())
            && path.segments.len() > 1
        {
            self.visit_path(&path);
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let leading = if item.leading_colon.is_some() { vec![String::new()] } else { Vec::new() };
        self.leaves(&leading, &item.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let leading = path.leading_colon.as_ref().map(|_| String::new());
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        self.paths.push(leading.into_iter().chain(names).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // Links in documentation import nothing.
        if !attribute.path().is_ident("doc") {
            visit::visit_attribute(self, attribute);
        }
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.tokens(list.tokens.clone());
    }

    fn visit_meta_name_value(&mut self, pair: &'ast MetaNameValue) {
        if let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value {
            self.string(&text.token().to_string());
        }
    }
}
