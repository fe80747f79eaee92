//! The reference of a booth's configuration file, made from the doc comments of its schema.
//!
//! What a key means stands in one place, `appliance/src/config/schema.rs` (and `network.rs`). Its default, or an
//! example, stands in `sample.toml` beside it, whose comments are those docs: a test here holds the two together, and
//! one in `appliance/src/config/documents.rs` holds the defaults to the schema's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use syn::{Attribute, Expr, Fields, GenericArgument, Item, ItemStruct, Lit, Meta, PathArguments, Type};

use crate::folders;

/// Where schema and sample are, from the checkout.
const FOLDER: &str = "appliance/src/config";
/// The files of the schema; the first one has [`ROOT`].
const SCHEMA: [&str; 2] = ["schema.rs", "network.rs"];
/// The struct of the whole file.
const ROOT: &str = "Config";
const SAMPLE: &str = "sample.toml";
/// Columns of the sample's comments.
const WIDTH: usize = 100;
const HEAD: &str = "\
# Every key that a booth's configuration, holobooth.toml, can have; `holobooth reference` prints this file.
#
# What stands here without a number sign is the default, and can be left out. What has one right before it
# is not set unless you set it, and shows an example; \"…\" is a value of your own.
";

/// `cargo xtask reference`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The sample file instead, with its comments as the schema has them now
    #[arg(long)]
    sample: bool,
}

/// A section of the file: `[path]`.
struct Section {
    path: String,
    /// Paragraphs.
    docs: Vec<String>,
    /// Whether a file without it differs from one where it is empty.
    optional: bool,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    docs: String,
    presence: Presence,
}

/// Whether a key has to be there.
#[derive(Clone, Copy, PartialEq)]
enum Presence {
    /// It has a default.
    Default,
    /// It may be absent, which means something of its own.
    Optional,
    /// Its section is refused without it.
    Required,
}

/// Prints the reference as Markdown, or the sample.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let (sections, values) = (sections()?, values(&sample()?));
    let text =
        if arguments.sample { render_sample(&sections, &values) } else { markdown(&sections, &values) };
    print!("{}", text?);
    Ok(())
}

/// The sample as it is in the checkout.
fn sample() -> Result<String> {
    read(SAMPLE)
}

fn read(file: &str) -> Result<String> {
    let path = folders::checkout().join(FOLDER).join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The schema's sections, in the order of declaration.
fn sections() -> Result<Vec<Section>> {
    let mut structs = BTreeMap::new();
    for file in SCHEMA {
        let parsed =
            syn::parse_file(&read(file)?).with_context(|| format!("cannot parse {FOLDER}/{file}"))?;
        for item in parsed.items {
            // What reads itself from one value is a key, and no section.
            if let Item::Struct(item) = item
                && attributes(&item.attrs, "derive").contains("Deserialize")
            {
                structs.insert(item.ident.to_string(), item);
            }
        }
    }
    let root = structs.get(ROOT).with_context(|| format!("no struct {ROOT} in {FOLDER}"))?;
    let mut sections = Vec::new();
    collect(&structs, root, "", &mut sections)?;
    Ok(sections)
}

/// Adds the sections that are fields of `parent`, and theirs; gives the keys that are.
fn collect(
    structs: &BTreeMap<String, ItemStruct>,
    parent: &ItemStruct,
    path: &str,
    sections: &mut Vec<Section>,
) -> Result<Vec<Key>> {
    let Fields::Named(fields) = &parent.fields else { bail!("{} has no named fields", parent.ident) };
    let all_default = attributes(&parent.attrs, "serde").contains("default");
    let mut keys = Vec::new();
    for field in &fields.named {
        let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let docs = docs(&field.attrs);
        let (optional, inner) = unwrapped(&field.ty);
        let Some(section) = structs.get(&inner) else {
            let has_default = all_default || attributes(&field.attrs, "serde").contains("default");
            let presence = match (optional, has_default) {
                (true, _) => Presence::Optional,
                (false, true) => Presence::Default,
                (false, false) => Presence::Required,
            };
            keys.push(Key { name, docs, presence });
            continue;
        };
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        let at = sections.len();
        // What stands in the struct's docs after its own name belongs to the section.
        let more = self::docs(&section.attrs);
        let more =
            more.strip_prefix(&format!("`[{path}]`")).unwrap_or(&more).trim_start_matches([':', '.', ' ']);
        let docs = [docs, capitalised(more)].into_iter().filter(|text| !text.is_empty()).collect();
        sections.push(Section { path: path.clone(), docs, optional, keys: Vec::new() });
        let keys = collect(structs, section, &path, sections)?;
        sections[at].keys = keys;
    }
    Ok(keys)
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_uppercase().chain(characters).collect())
}

/// The name of a type without what is around it, and whether that says that it may be absent.
fn unwrapped(ty: &Type) -> (bool, String) {
    let Type::Path(path) = ty else { return (false, String::new()) };
    let Some(last) = path.path.segments.last() else { return (false, String::new()) };
    let name = last.ident.to_string();
    let inner = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
            Some(GenericArgument::Type(inner)) => Some(unwrapped(inner)),
            _ => None,
        },
        _ => None,
    };
    match (name.as_str(), inner) {
        ("Option", Some((_, inner))) => (true, inner),
        (_, Some(inner)) => inner,
        (_, None) => (false, name),
    }
}

/// What stands in the attributes of a name, as text.
fn attributes(attributes: &[Attribute], name: &str) -> String {
    let lists = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
    lists
        .filter_map(|attribute| match &attribute.meta {
            Meta::List(list) => Some(list.tokens.to_string()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The doc comment, as one paragraph.
fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let lines: Vec<String> = lines
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The values in a sample, those behind a number sign too, by `section.key`.
fn values(sample: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut values = BTreeMap::new();
    for line in sample.lines().map(|line| line.strip_prefix('#').unwrap_or(line)) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if !line.starts_with(' ')
            && let Some((key, value)) = line.split_once(" = ")
        {
            values.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    values
}

/// The value of `key` in the sample.
fn value<'a>(values: &'a BTreeMap<String, String>, section: &Section, key: &Key) -> Result<&'a str> {
    let path = format!("{}.{}", section.path, key.name);
    values.get(&path).map(String::as_str).with_context(|| {
        format!(
            "{FOLDER}/{SAMPLE} has no `{path}`: add a line with its default, or `#{} = an example`",
            key.name
        )
    })
}

fn render_sample(sections: &[Section], values: &BTreeMap<String, String>) -> Result<String> {
    let mut text = HEAD.to_owned();
    for section in sections {
        text.push('\n');
        for paragraph in &section.docs {
            comment(&mut text, paragraph);
        }
        writeln!(text, "{}[{}]", if section.optional { "#" } else { "" }, section.path)?;
        for key in &section.keys {
            comment(&mut text, &key.docs);
            let set = !section.optional && key.presence == Presence::Default;
            writeln!(text, "{}{} = {}", if set { "" } else { "#" }, key.name, value(values, section, key)?)?;
        }
    }
    Ok(text)
}

fn comment(text: &mut String, paragraph: &str) {
    let options = textwrap::Options::new(WIDTH - 2).word_splitter(textwrap::WordSplitter::NoHyphenation);
    for line in textwrap::wrap(paragraph, options) {
        text.push_str("# ");
        text.push_str(&line);
        text.push('\n');
    }
}

fn markdown(sections: &[Section], values: &BTreeMap<String, String>) -> Result<String> {
    let mut text = "# The configuration file of a booth, `holobooth.toml`\n".to_owned();
    for section in sections {
        writeln!(text, "\n## `[{}]`\n{}\n", section.path, section.docs.join("\n\n"))?;
        if !section.keys.is_empty() {
            text.push_str("| key | default | meaning |\n| --- | --- | --- |\n");
        }
        for key in &section.keys {
            let value = value(values, section, key)?;
            let default = match key.presence {
                Presence::Default => format!("`{value}`"),
                Presence::Optional => format!("none; such as `{value}`"),
                Presence::Required => format!("must be set; such as `{value}`"),
            };
            writeln!(text, "| `{}` | {default} | {} |", key.name, key.docs.replace('|', "\\|"))?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_every_key_of_the_schema_with_its_docs_and_nothing_else() {
        let sample = sample().unwrap();
        let rendered = render_sample(&sections().unwrap(), &values(&sample)).unwrap();
        let difference = rendered.lines().zip(sample.lines()).find(|(docs, sample)| docs != sample);
        assert!(
            rendered == sample,
            "sample.toml is not what the schema's docs say: {difference:?}; \
             `cargo xtask reference --sample` prints what it should be"
        );
    }

    #[test]
    fn what_has_no_value_in_the_sample_is_named() {
        let without = sample().unwrap().replace("fps = ", "# fps = ");
        let error = render_sample(&sections().unwrap(), &values(&without)).unwrap_err().to_string();
        assert!(error.contains("no `camera.fps`"), "{error}");
    }

    #[test]
    fn sections_and_keys_are_told_apart_and_what_must_be_there_is_known() {
        let sections = sections().unwrap();
        let find = |path: &str| sections.iter().find(|section| section.path == path).unwrap();
        assert!(!find("camera").optional && find("relay").optional && find("network.wifi").optional);
        let presence = |path: &str, name: &str| {
            find(path).keys.iter().find(|key| key.name == name).map(|key| key.presence).unwrap()
        };
        assert!(
            presence("camera", "fps") == Presence::Default && presence("room", "most") == Presence::Default
        );
        assert!(presence("booth", "name") == Presence::Optional);
        assert!(presence("relay", "address") == Presence::Required);
        let text = markdown(&sections, &values(&sample().unwrap())).unwrap();
        assert!(text.contains("\n## `[network.wifi]`\n") && text.contains("\n| `fps` | `30` | "), "{text}");
    }
}
