//! Attackers: programs that the scenario `attackers` runs beside booths.

mod between;
mod faithless;
mod half_open;
mod records;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;

pub use half_open::prepare;

/// One of them. Those that do not end by themselves end with the scenario.
#[derive(Debug, Subcommand)]
pub enum Attack {
    /// Stands between two booths that pair by code: announces itself as a booth that shows one, and passes on
    /// what comes to another.
    Between {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
        /// The booth whose code it would have.
        #[arg(long)]
        to: SocketAddr,
        /// What it calls itself.
        #[arg(long)]
        name: String,
    },
    /// A relay that changes, drops, repeats and reorders what passes it.
    Faithless {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
        /// Where its certificate's fingerprint goes.
        #[arg(long)]
        fingerprint: PathBuf,
    },
    /// Begins connections and never goes on with them.
    HalfOpen {
        /// Where to.
        #[arg(long)]
        to: SocketAddr,
        /// What [`prepare`] wrote.
        #[arg(long)]
        packets: PathBuf,
    },
    /// Announces booths that there are not.
    Records {
        /// How many.
        #[arg(long)]
        count: u32,
        /// The address of the interface to send from.
        #[arg(long)]
        from: std::net::Ipv4Addr,
    },
}

impl Attack {
    /// Does it; a line about what was done.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn run(self) -> std::io::Result<String> {
        match self {
            Self::Between { listen, to, name } => between::run(listen, to, name),
            Self::Faithless { listen, fingerprint } => faithless::run(listen, &fingerprint),
            Self::HalfOpen { to, packets } => half_open::send(to, &packets),
            Self::Records { count, from } => records::send(count, from),
        }
    }
}
