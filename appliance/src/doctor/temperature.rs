//! How hot the machine is, and whether its processor has been slowed for it.
//!
//! Source: Linux documentation, "Generic Thermal Sysfs driver" and "Naming and data format standards for
//! sysfs files" (hwmon); Documentation/admin-guide/thermal for `thermal_throttle`.

use std::fs;
use std::path::{Path, PathBuf};

use super::evaluation::Evaluation;
use super::subject::{Subject, read};

/// At so many °C a sensor that names no limit of its own is taken for too hot.
const CRITICAL_C: f64 = 100.0;
/// This near to its limit it is too hot, and this near it gets hot.
const TOO_NEAR_C: f64 = 3.0;
const NEAR_C: f64 = 12.0;
/// A limit or a temperature outside is no such thing.
const PLAUSIBLE_C: std::ops::Range<f64> = 1.0..150.0;

/// A sensor's word, in °C.
#[derive(Debug, Clone, PartialEq)]
struct Sensor {
    name: String,
    now_c: f64,
    critical_c: Option<f64>,
}

pub(super) fn check(_: &Subject) -> Evaluation {
    let sensors = [zones(Path::new("/sys/class/thermal")), monitors(Path::new("/sys/class/hwmon"))].concat();
    evaluate(&sensors, throttled(Path::new("/sys/devices/system/cpu")))
}

/// The entries of a folder whose names begin so, in order; none when it cannot be read.
fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(named)
        .collect();
    found.sort();
    found
}

/// A file of thousandths of a degree.
fn celsius(path: &Path) -> Option<f64> {
    let thousandths: f64 = read(path)?.parse().ok()?;
    Some(thousandths / 1e3).filter(|celsius| PLAUSIBLE_C.contains(celsius))
}

fn zones(folder: &Path) -> Vec<Sensor> {
    let sensor = |zone: PathBuf| {
        let critical = entries(&zone, "trip_point_").into_iter().find_map(|path| {
            let number = path.file_name()?.to_str()?.strip_suffix("_type")?.to_owned();
            (read(&path)? == "critical").then(|| celsius(&zone.join(format!("{number}_temp"))))?
        });
        let name = read(zone.join("type")).unwrap_or_default();
        Some(Sensor { name, now_c: celsius(&zone.join("temp"))?, critical_c: critical })
    };
    entries(folder, "thermal_zone").into_iter().filter_map(sensor).collect()
}

fn monitors(folder: &Path) -> Vec<Sensor> {
    let of_monitor = |monitor: PathBuf| {
        let name = read(monitor.join("name")).unwrap_or_default();
        entries(&monitor, "temp").into_iter().filter_map(move |path| {
            let number = path.file_name()?.to_str()?.strip_suffix("_input")?.to_owned();
            let label = read(monitor.join(format!("{number}_label"))).unwrap_or_default();
            Some(Sensor {
                name: format!("{name} {label}").trim().to_owned(),
                now_c: celsius(&path)?,
                critical_c: celsius(&monitor.join(format!("{number}_crit"))),
            })
        })
    };
    entries(folder, "hwmon").into_iter().flat_map(of_monitor).collect()
}

/// How often processors have been slowed since the start; nothing where that is not counted.
fn throttled(folder: &Path) -> Option<u64> {
    let count = |cpu: PathBuf| read(cpu.join("thermal_throttle/package_throttle_count"))?.parse().ok();
    entries(folder, "cpu").into_iter().filter_map(count).max()
}

fn evaluate(sensors: &[Sensor], throttled: Option<u64>) -> Evaluation {
    let left_c = |sensor: &Sensor| sensor.critical_c.unwrap_or(CRITICAL_C) - sensor.now_c;
    let nearest = sensors.iter().min_by(|a, b| left_c(a).total_cmp(&left_c(b)));
    let Some(nearest) = nearest else {
        return Evaluation::ok("this machine has no sensor that can be read");
    };
    let limit = nearest.critical_c.map_or(String::new(), |limit| format!(" of at most {limit:.0} °C"));
    let found = format!("{} {:.0} °C{limit}", nearest.name, nearest.now_c);
    let advice = "clean its fans and give it air";
    match (left_c(nearest), throttled) {
        (left_c, _) if left_c < TOO_NEAR_C => Evaluation::wrong(found, advice),
        (left_c, _) if left_c < NEAR_C => Evaluation::warning(found, advice),
        (_, Some(times @ 1..)) => Evaluation::warning(
            format!("{found}; the processor was slowed {times} times since the start"),
            advice,
        ),
        _ => Evaluation::ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluation::Verdict::{Ok as Fine, Warning, Wrong};
    use super::*;

    #[test]
    fn the_nearest_to_its_limit_counts() {
        let sensor = |now_c, critical_c| Sensor { name: "cpu".into(), now_c, critical_c };
        for (sensors, throttled, verdict) in [
            (vec![], Some(9), Fine),
            (vec![sensor(50.0, Some(100.0)), sensor(40.0, None)], Some(0), Fine),
            (vec![sensor(50.0, None)], Some(3), Warning),
            (vec![sensor(50.0, None), sensor(95.0, None)], None, Warning),
            (vec![sensor(75.0, Some(85.0))], None, Warning),
            (vec![sensor(84.0, Some(85.0)), sensor(90.0, Some(110.0))], None, Wrong),
            (vec![sensor(99.0, None)], None, Wrong),
        ] {
            assert_eq!(evaluate(&sensors, throttled).verdict, verdict, "{sensors:?}");
        }
    }

    #[test]
    fn sysfs_is_read_and_nonsense_in_it_left_out() {
        let root = std::env::temp_dir().join(format!("holobooth-thermal-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, text) in [
            ("thermal/thermal_zone0/type", "x86_pkg_temp\n"),
            ("thermal/thermal_zone0/temp", "45000\n"),
            ("thermal/thermal_zone0/trip_point_0_type", "passive\n"),
            ("thermal/thermal_zone0/trip_point_0_temp", "80000\n"),
            ("thermal/thermal_zone0/trip_point_1_type", "critical\n"),
            ("thermal/thermal_zone0/trip_point_1_temp", "105000\n"),
            ("thermal/thermal_zone1/temp", "-274000\n"),
            ("hwmon/hwmon0/name", "nvme\n"),
            ("hwmon/hwmon0/temp1_input", "39850\n"),
            ("hwmon/hwmon0/temp1_crit", "84850\n"),
            ("hwmon/hwmon0/temp1_label", "Composite\n"),
            ("hwmon/hwmon0/temp2_input", "lots\n"),
            ("cpu/cpu0/thermal_throttle/package_throttle_count", "4\n"),
            ("cpu/cpufreq/x", "\n"),
        ] {
            put(path, text);
        }
        let sensor =
            |name: &str, now_c, limit_c| Sensor { name: name.into(), now_c, critical_c: Some(limit_c) };
        assert_eq!(zones(&root.join("thermal")), [sensor("x86_pkg_temp", 45.0, 105.0)]);
        assert_eq!(monitors(&root.join("hwmon")), [sensor("nvme Composite", 39.85, 84.85)]);
        assert_eq!((throttled(&root.join("cpu")), throttled(&root.join("none"))), (Some(4), None));
        fs::remove_dir_all(root).unwrap();
    }
}
