//! The kernel: its version, and whether it was built with what a booth needs.

use std::fs::File;
use std::io::Read;

use flate2::read::GzDecoder;

use super::evaluation::Evaluation;
use super::subject::{Subject, read};

/// The longest configuration, in bytes.
const LONGEST: u64 = 4 << 20;

/// What is needed: for what; any of these options; and whether a booth is nothing without it.
struct Need {
    what: &'static str,
    any: &'static [&'static str],
    vital: bool,
}

const NEEDS: [Need; 8] = [
    Need { what: "cameras", any: &["VIDEO_DEV"], vital: true },
    Need { what: "USB cameras", any: &["USB_VIDEO_CLASS"], vital: false },
    Need { what: "screens", any: &["DRM"], vital: true },
    Need {
        what: "a graphics card",
        any: &["DRM_I915", "DRM_XE", "DRM_AMDGPU", "DRM_NOUVEAU", "DRM_VIRTIO_GPU", "DRM_VKMS"],
        vital: true,
    },
    Need { what: "sound", any: &["SND"], vital: false },
    Need { what: "USB sound", any: &["SND_USB_AUDIO"], vital: false },
    Need { what: "exact timers", any: &["HIGH_RES_TIMERS"], vital: false },
    Need { what: "sensors of heat", any: &["THERMAL"], vital: false },
];

pub(super) fn check(_: &Subject) -> Evaluation {
    let version = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    evaluate(&version, options(&version).as_deref())
}

/// The kernel's configuration, where it can be read.
fn options(version: &str) -> Option<String> {
    let mut text = String::new();
    if let Ok(file) = File::open("/proc/config.gz") {
        GzDecoder::new(file).take(LONGEST).read_to_string(&mut text).ok()?;
    } else {
        File::open(format!("/boot/config-{version}")).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    }
    Some(text)
}

fn evaluate(version: &str, options: Option<&str>) -> Evaluation {
    let Some(options) = options else {
        return Evaluation::ok(format!("{version}; how it was built cannot be read"));
    };
    let has = |name: &&str| {
        let line = |line: &str| {
            let value = line.strip_prefix("CONFIG_").and_then(|line| line.strip_prefix(*name));
            matches!(value, Some("=y" | "=m"))
        };
        options.lines().any(line)
    };
    let lacking: Vec<&Need> = NEEDS.iter().filter(|need| !need.any.iter().any(has)).collect();
    if lacking.is_empty() {
        return Evaluation::ok(version);
    }
    let words: Vec<&str> = lacking.iter().map(|need| need.what).collect();
    let names: Vec<String> =
        lacking.iter().map(|need| format!("CONFIG_{}", need.any.join(" or CONFIG_"))).collect();
    let found = format!("{version}, built without {}", words.join(", "));
    let advice = format!("use a kernel with {}", names.join(", "));
    if lacking.iter().any(|need| need.vital) {
        Evaluation::wrong(found, advice)
    } else {
        Evaluation::warning(found, advice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn what_is_vital_and_what_is_not() {
        let all = NEEDS.map(|need| format!("CONFIG_{}=m\n", need.any[0])).concat();
        assert_eq!(evaluate("7.3", Some(&all)).verdict, Fine);
        let without =
            |name: &str| all.replace(&format!("CONFIG_{name}=m"), &format!("# CONFIG_{name} is not set"));
        let blind = evaluate("7.3", Some(&without("VIDEO_DEV")));
        assert!(blind.verdict == Wrong && blind.advice.contains("CONFIG_VIDEO_DEV"), "{blind:?}");
        assert_eq!(evaluate("7.3", Some(&without("SND"))).verdict, Warning);
        assert_eq!(
            evaluate("7.3", Some(&all.replace("DRM_I915=m", "DRM_VKMS=y"))).verdict,
            Fine,
            "any of them"
        );
        assert_eq!(evaluate("7.3", Some("")).verdict, Wrong);
        assert_eq!(evaluate("7.3", None).verdict, Fine);
        // Read or not, no machine may make it fail.
        evaluate("x", options("x").as_deref());
    }
}
