//! `cargo xtask`: installs what the machine lacks, builds kernels, boots the rig, runs demo, tests and benches.

mod cargo;
mod check;
mod debian;
mod demo;
mod disk_space;
mod flash;
mod folders;
mod image;
mod imports;
mod interrupt;
mod kernel;
mod machine_tools;
mod newcomer;
mod progress;
mod reference;
mod rig;
mod scenario;
mod setup;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Builds, boots, shows and tests holobooth.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    max_term_width = 100,
    after_help = "\
Start with:
  cargo xtask demo     two booths, live, in your browser and terminal
  cargo xtask test     the checks; with --full those that take long, too

What the machine lacks is installed on the way (`cargo xtask setup` does it all at once). What takes long to
make is kept in ~/.cache/holobooth, which may be deleted at any time; keys of yours are in ~/.local/share/holobooth."
)]
enum Command {
    /// Two booths in the rig, live: a table here, the screens in your browser
    Demo(demo::Arguments),
    /// Run the checks, or with --fast those without a rig
    Test(check::Arguments),
    /// Run one scenario in its rig, or list them
    Scenario(scenario::Arguments),
    /// Run one bench in its rig, or list them
    Bench(scenario::BenchArguments),
    /// Run a command in the rig: cameras, screens, sound cards and networks in software
    Rig(rig::Arguments),
    /// Build the rig's kernel, unless it is cached, and print where it is
    Kernel(kernel::Arguments),
    /// Make the bootable image for booths, with its signatures, update files and SBOM
    Image(image::Arguments),
    /// Write the image to a disk, SSD or SD card, and compare
    Flash(flash::Arguments),
    /// Print the reference of a booth's configuration file, as Markdown
    Reference(reference::Arguments),
    /// Install the Debian packages that this machine lacks, and get the tools for virtual machines
    ///
    /// Says first which and why. Every other command installs what it needs by itself; this one installs
    /// everything at once. Debian 12 and 13; as root or with sudo. The tools go into the cache.
    Setup,
}

fn main() -> ExitCode {
    let (result, on_failure) = match rig::init::folder_of_run() {
        Some(folder) => (rig::init::main(&folder).map(|()| ExitCode::SUCCESS), ExitCode::FAILURE),
        None => {
            let command = Command::parse();
            let on_failure = match command {
                Command::Rig(_) => ExitCode::from(rig::FAILED),
                _ => ExitCode::FAILURE,
            };
            (run(command), on_failure)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        on_failure
    })
}

fn run(command: Command) -> Result<ExitCode> {
    interrupt::catch()?;
    match command {
        Command::Demo(arguments) => demo::main(&arguments),
        Command::Test(arguments) => check::main(&arguments),
        Command::Scenario(arguments) => scenario::main(arguments),
        Command::Bench(arguments) => scenario::bench(arguments),
        Command::Rig(arguments) => rig::main(arguments),
        Command::Kernel(arguments) => kernel::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Image(arguments) => image::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Flash(arguments) => flash::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Reference(arguments) => reference::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Setup => setup::main().map(|()| ExitCode::SUCCESS),
    }
}
