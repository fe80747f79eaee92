//! Debian packages that this machine lacks.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::machine_tools::MachineTools;

/// What packages are for; each command asks for the groups that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Compiling the booth's own program.
    Appliance,
    /// Compiling the rig's kernel.
    Kernel,
    /// What the rig uses inside.
    RigTools,
    /// What the booth is measured against.
    Peers,
    /// Making the bootable image.
    Image,
    /// Making a fresh Debian to try things in.
    Newcomer,
    /// Checking scripts.
    Lint,
}

impl Group {
    const ALL: [Self; 7] =
        [Self::Appliance, Self::Kernel, Self::RigTools, Self::Peers, Self::Image, Self::Newcomer, Self::Lint];

    fn why(self) -> &'static str {
        match self {
            Self::Appliance => {
                "to compile the booth and what it is measured against: FFmpeg, DRM, ALSA and udev, and bindings to them"
            }
            Self::Kernel => "to compile the rig's kernel",
            Self::RigTools => "for networks, cameras, USB sticks and voices inside the rig",
            Self::Peers => "the GStreamer chains that `bench` measures beside the booth",
            Self::Image => "to make and sign the bootable image",
            Self::Newcomer => "to try setup and demo on a fresh Debian",
            Self::Lint => "to check shell scripts",
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Appliance => &[
                "libavcodec-dev",
                "libavformat-dev",
                "libavutil-dev",
                "libswscale-dev",
                "libswresample-dev",
                "libasound2-dev",
                "libclang-dev",
                "clang",
                "cmake",
                "make",
                "pkg-config",
            ],
            Self::Kernel => &[
                "build-essential",
                "flex",
                "patch",
                "bison",
                "bc",
                "libelf-dev",
                "xz-utils",
                "cpio",
                "kmod",
                "perl",
                "python3",
            ],
            Self::RigTools => &[
                "iproute2",
                "v4l-utils",
                "tcpdump",
                "tcpreplay",
                "dosfstools",
                "exfatprogs",
                "e2fsprogs",
                "espeak-ng",
            ],
            Self::Peers => &[
                "gstreamer1.0-tools",
                "gstreamer1.0-alsa",
                "gstreamer1.0-plugins-base",
                "gstreamer1.0-plugins-good",
                "gstreamer1.0-plugins-bad",
                "gstreamer1.0-plugins-ugly",
                "gstreamer1.0-libav",
            ],
            // mkosi brings the rest itself, in a root of its own.
            Self::Image => &[
                "apt",
                "binutils",
                "debian-archive-keyring",
                "gpg",
                "gpg-agent",
                "openssl",
                "uidmap",
                "zstd",
            ],
            Self::Newcomer => &["debootstrap"],
            Self::Lint => &["shellcheck"],
        }
    }
}

/// `cargo xtask setup`: everything, the tools in the cache included.
pub(crate) fn main() -> Result<()> {
    if ensure(&Group::ALL)? == 0 {
        println!("Nothing to install: every package is there.");
    }
    MachineTools::ensure()?;
    Ok(())
}

/// Installs what is missing of these groups, saying first what and why; gives the number installed.
///
/// # Errors
/// When packages are missing and cannot be installed: no apt, no right to, or apt's own failure.
pub(crate) fn ensure(groups: &[Group]) -> Result<usize> {
    let wanted: Vec<_> = groups.iter().flat_map(|group| group.packages()).copied().collect();
    let installed = installed(&wanted)?;
    let missing: Vec<_> = wanted.into_iter().filter(|package| !installed.contains(*package)).collect();
    if missing.is_empty() {
        return Ok(0);
    }
    eprintln!("This machine lacks {} Debian packages:", missing.len());
    // All of a group, for what is there and not named may be of a version that apt would rather remove.
    let mut named = Vec::new();
    for group in groups {
        let of_group: Vec<_> = group.packages().iter().filter(|p| missing.contains(p)).copied().collect();
        if !of_group.is_empty() {
            eprintln!("  {}\n      {}", group.why(), of_group.join(" "));
            named.extend(group.packages());
        }
    }
    apt(&["update"], &missing)?;
    let install = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    apt(&[&install, named.as_slice()].concat(), &missing)?;
    Ok(missing.len())
}

fn installed(packages: &[&str]) -> Result<BTreeSet<String>> {
    let out = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()
        .context("cannot run dpkg-query: the rig is built on Debian 12 or 13")?;
    Ok(parse_installed(&String::from_utf8_lossy(&out.stdout)))
}

fn parse_installed(listing: &str) -> BTreeSet<String> {
    listing.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

fn apt(arguments: &[&str], missing: &[&str]) -> Result<()> {
    let by_hand = format!("as root: apt-get update && apt-get install {}", missing.join(" "));
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("apt-get");
        sudo
    };
    eprintln!("{} {}", command.get_program().display(), arguments.join(" "));
    let status = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments)
        .arg("--quiet")
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("neither root nor able to run sudo; install them by hand, {by_hand}"))?;
    if !status.success() {
        bail!("apt-get {} failed ({status}); install by hand, {by_hand}", arguments[0]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let listing = "bc installed\nflex config-files\nbison not-installed\ncpio installed\n";
        assert_eq!(parse_installed(listing).into_iter().collect::<Vec<_>>(), ["bc", "cpio"]);
    }

    #[test]
    fn no_package_is_named_twice() {
        let all: Vec<_> = Group::ALL.iter().flat_map(|group| group.packages()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
