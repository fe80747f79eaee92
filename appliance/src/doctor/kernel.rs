//! The kernel: its version, and whether it was built with the options that a booth needs.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::evaluation::Evaluation;
use super::subject::{Subject, read};

/// The largest kernel configuration that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// The fragments that the image's kernel is checked against, so that the doctor asks for the same options.
const REQUIRED: [&str; 3] = [
    include_str!("../../../kernel-config/appliance/required/10-system.config"),
    include_str!("../../../kernel-config/appliance/required/20-media.config"),
    include_str!("../../../kernel-config/appliance/required/30-connections.config"),
];

/// Without one of these there is no camera or no screen at all.
const VITAL: [&str; 2] = ["CONFIG_MEDIA_SUPPORT", "CONFIG_DRM"];

/// How many missing options are named.
const MAX_NAMED: usize = 6;

pub(super) fn check(_: &Subject) -> Evaluation {
    let version = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    evaluate(&version, options(Path::new("/"), &version).ok().as_deref())
}

/// The options of the running kernel: from the kernel itself, else where the image or a distribution keeps a
/// copy.
///
/// # Errors
/// The last place's, when there are none.
fn options(root: &Path, version: &str) -> io::Result<String> {
    let mut text = String::new();
    if let Ok(file) = File::open(root.join("proc/config.gz")) {
        GzDecoder::new(file).take(MAX_CONFIG).read_to_string(&mut text)?;
        return Ok(text);
    }
    let file = File::open(root.join(format!("usr/lib/modules/{version}/config")))
        .or_else(|_| File::open(root.join(format!("boot/config-{version}"))))?;
    file.take(MAX_CONFIG).read_to_string(&mut text)?;
    Ok(text)
}

/// The names of the required options: those of lines such as `CONFIG_DRM=y  # KMS`.
fn required() -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().flat_map(str::lines).filter_map(|line| Some(line.split_once("=y")?.0))
}

fn evaluate(version: &str, options: Option<&str>) -> Evaluation {
    let Some(options) = options else {
        return Evaluation::ok(format!("{version}; its configuration cannot be read"));
    };
    // A module counts as built in.
    let has = |name: &str| {
        let value = |line: &str| line.strip_prefix(name).is_some_and(|value| matches!(value, "=y" | "=m"));
        options.lines().any(value)
    };
    let mut missing: Vec<&str> = required().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Evaluation::ok(version);
    }
    missing.sort_by_key(|name| !VITAL.contains(name));
    let vital = missing.iter().any(|name| VITAL.contains(name));
    let found = format!("{version}, built without {} of the options that a booth needs", missing.len());
    let more = match missing.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    missing.truncate(MAX_NAMED);
    let advice = format!("use a kernel with {}{more}", missing.join(", "));
    if vital { Evaluation::wrong(found, advice) } else { Evaluation::warning(found, advice) }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn every_required_line_is_understood() {
        let lines = REQUIRED
            .into_iter()
            .flat_map(str::lines)
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(required().count(), lines.count(), "write each line as `CONFIG_NAME=y  # reason`");
        assert!(VITAL.iter().all(|vital| required().any(|name| name == *vital)));
    }

    #[test]
    fn missing_vital_options_are_wrong_and_others_a_warning() {
        let all: String = required().map(|name| format!("{name}=m\n")).collect();
        assert_eq!(evaluate("7.3", Some(&all)), Evaluation::ok("7.3"));
        let without = |name: &str| all.replace(&format!("{name}=m\n"), &format!("# {name} is not set\n"));
        let no_camera = evaluate("7.3", Some(&without("CONFIG_MEDIA_SUPPORT")));
        assert_eq!(no_camera.verdict, Wrong);
        assert_eq!(no_camera.advice, "use a kernel with CONFIG_MEDIA_SUPPORT");
        assert_eq!(evaluate("7.3", Some(&without("CONFIG_SND"))).verdict, Warning);
        let nothing = evaluate("7.3", Some(""));
        assert_eq!(nothing.verdict, Wrong);
        let named = nothing.advice.matches("CONFIG_").count();
        assert!(
            named == MAX_NAMED && nothing.advice.contains("CONFIG_MEDIA_SUPPORT, CONFIG_DRM"),
            "{nothing:?}"
        );
        assert!(nothing.advice.ends_with(&format!(" and {} more", required().count() - MAX_NAMED)));
        assert_eq!(evaluate("7.3", None).verdict, Fine);
    }

    #[test]
    fn options_are_read_from_the_kernel_then_the_image_then_the_distribution() {
        let root = std::env::temp_dir().join(format!("holobooth-kernel-{}", std::process::id()));
        let write = |place: &str, bytes: &[u8]| {
            let path = root.join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        assert!(options(&root, "7.3").is_err());
        write("boot/config-7.3", b"distribution");
        assert_eq!(options(&root, "7.3").unwrap(), "distribution");
        write("usr/lib/modules/7.3/config", b"image");
        assert_eq!(options(&root, "7.3").unwrap(), "image");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(b"kernel").unwrap();
        write("proc/config.gz", &packed.finish().unwrap());
        assert_eq!(options(&root, "7.3").unwrap(), "kernel");
        fs::remove_dir_all(root).unwrap();
    }
}
