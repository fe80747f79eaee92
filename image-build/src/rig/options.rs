//! What a rig is made of, as asked for on the command line or by a scenario.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Size, devices and network of a rig.
#[derive(clap::Args, Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// Processor cores; one of the host's each. More than one make each system call dearer
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8), value_name = "N")]
    pub(crate) cores: u8,
    /// Memory in MiB; taken from the host only as it is used
    #[arg(long = "memory", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(128..=65536), value_name = "MIB")]
    pub(crate) memory_mib: u32,
    /// Cameras (vivid): platform:vivid-000, platform:vivid-001, …; 3 with --two-booths, for a third may come, else 1
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8), value_name = "N")]
    pub(crate) cameras: Option<u8>,
    /// Screens (vkms): screen-a, screen-b, …; 2 with --two-booths, else 1
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=8), value_name = "N")]
    pub(crate) screens: Option<u8>,
    /// Network namespaces a (10.9.0.1, va) and b (10.9.0.2, vb), joined by a cable, each with its own devices
    #[arg(long)]
    pub(crate) two_booths: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) line: Line,
    /// Cut the command off after this many seconds
    #[arg(long = "time-limit", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..), value_name = "S")]
    pub(crate) time_limit_s: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cores: 1,
            memory_mib: 2048,
            cameras: None,
            screens: None,
            two_booths: false,
            line: Line::default(),
            time_limit_s: 300,
        }
    }
}

impl Options {
    /// How many cameras there will be.
    pub(crate) fn cameras(&self) -> u8 {
        self.cameras.unwrap_or(if self.two_booths { 3 } else { 1 })
    }

    /// How many screens there will be.
    pub(crate) fn screens(&self) -> u8 {
        self.screens.unwrap_or(self.booths())
    }

    /// How many booths: one sound card each.
    pub(crate) fn booths(&self) -> u8 {
        if self.two_booths { 2 } else { 1 }
    }
}

/// How bad the line between two booths is; the same in both directions.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    /// One-way delay of the line in milliseconds, in each direction
    #[arg(long = "delay", requires = "two_booths", value_name = "MS")]
    pub(crate) delay_ms: Option<u32>,
    /// Packets lost at random, in per cent, in each direction
    #[arg(long = "loss", requires = "two_booths", conflicts_with = "burst_loss", value_parser = percent, value_name = "PCT")]
    pub(crate) loss_percent: Option<f64>,
    /// Packets lost in bursts: PCT per cent of all, LEN in a row on average (Gilbert's model)
    #[arg(long, requires = "two_booths", value_name = "PCT,LEN")]
    pub(crate) burst_loss: Option<BurstLoss>,
    /// Capacity in Mbit/s, in each direction
    #[arg(long = "rate", requires = "two_booths", value_parser = clap::value_parser!(u32).range(1..), value_name = "MBIT")]
    pub(crate) rate_mbit: Option<u32>,
}

/// Loss in bursts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BurstLoss {
    /// Share of all packets that is lost, in per cent; above 0, below 100.
    pub(crate) percent: f64,
    /// Mean number of packets lost in a row; 1 or more.
    pub(crate) length: f64,
}

impl BurstLoss {
    /// The two chances of Gilbert's model in per cent: of a burst to begin, and to end, at each packet.
    ///
    /// A burst of mean length L ends with chance 1/L; the time spent in it is begin / (begin + end).
    pub(crate) fn chances_percent(self) -> (f64, f64) {
        let end = 100.0 / self.length;
        (end * self.percent / (100.0 - self.percent), end)
    }
}

impl FromStr for BurstLoss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (percent, length) = parts.ok_or("write PCT,LEN, for example 2,5: 2 % of packets, 5 in a row")?;
        let loss = Self { percent, length };
        if !(0.0 < percent && percent < 100.0 && length >= 1.0) || loss.chances_percent().0 > 100.0 {
            return Err(
                "PCT must lie between 0 and 100 and LEN be at least 1, and long enough for that PCT".into()
            );
        }
        Ok(loss)
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 100".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_loss_gives_the_share_asked_for() {
        let (begin, end) = BurstLoss { percent: 2.0, length: 5.0 }.chances_percent();
        assert!((end - 20.0).abs() < 1e-9);
        assert!((begin / (begin + end) - 0.02).abs() < 1e-9);
    }

    #[test]
    fn burst_loss_refuses_nonsense() {
        for text in ["", "2", "0,5", "100,5", "2,0.5", "60,1", "x,y"] {
            assert!(text.parse::<BurstLoss>().is_err(), "{text}");
        }
        assert_eq!("2,5".parse(), Ok(BurstLoss { percent: 2.0, length: 5.0 }));
    }

    #[test]
    fn scenarios_may_name_only_what_they_need() {
        let options: Options = serde_json::from_str(r#"{"two_booths":true,"delay_ms":20}"#).unwrap();
        assert_eq!((options.cameras(), options.line.delay_ms, options.cores), (3, Some(20), 1));
    }
}
