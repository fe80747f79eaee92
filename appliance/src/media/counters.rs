//! Counters that are declared once: the declaration makes the atomics, what status carries of them, and the
//! table that it prints.

/// What a number of a counter table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Count,
    /// Goes up and down.
    Gauge,
}

/// Declares a struct of counters and its snapshot. Each field has a kind (`count` or `gauge`) and the label
/// under which `holobooth status` prints it.
macro_rules! counters {
    (@kind count) => { $crate::media::counters::Kind::Count };
    (@kind gauge) => { $crate::media::counters::Kind::Gauge };
    (
        $(#[$about:meta])* pub struct $name:ident;
        $(#[$about_snapshot:meta])* pub struct $snapshot:ident;
        $( $(#[$doc:meta])* $field:ident: $kind:ident $label:literal, )+
    ) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub struct $name { $( $(#[$doc])* pub $field: std::sync::atomic::AtomicU64, )+ }

        $(#[$about_snapshot])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $snapshot { $( $(#[$doc])* pub $field: u64, )+ }

        impl $name {
            /// The numbers as they are now.
            pub fn snapshot(&self) -> $snapshot {
                $snapshot { $( $field: self.$field.load(std::sync::atomic::Ordering::Relaxed), )+ }
            }
        }

        impl $snapshot {
            /// Each number with its label and kind, in the order of declaration.
            pub fn table(&self) -> impl Iterator<Item = (&'static str, $crate::media::counters::Kind, u64)> {
                [ $( ($label, $crate::media::counters::counters!(@kind $kind), self.$field), )+ ].into_iter()
            }

            /// Both together: counts add up, of gauges the larger one.
            pub fn plus(&self, other: &Self) -> Self {
                Self { $( $field: match $crate::media::counters::counters!(@kind $kind) {
                    $crate::media::counters::Kind::Count => self.$field.saturating_add(other.$field),
                    $crate::media::counters::Kind::Gauge => self.$field.max(other.$field),
                }, )+ }
            }

            /// What was counted since `before`; gauges as they are now.
            pub fn since(&self, before: &Self) -> Self {
                Self { $( $field: match $crate::media::counters::counters!(@kind $kind) {
                    $crate::media::counters::Kind::Count => self.$field.saturating_sub(before.$field),
                    $crate::media::counters::Kind::Gauge => self.$field,
                }, )+ }
            }
        }
    };
}
pub(crate) use counters;

#[cfg(test)]
mod tests {
    #![expect(unreachable_pub, reason = "what the macro makes is public where it is used")]

    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    counters! {
        /// For this test.
        pub struct Some;
        /// A snapshot of it.
        pub struct SomeCounts;
        /// Grows.
        frames: count "frames",
        /// Varies.
        rtt_us: gauge "µs RTT",
    }

    #[test]
    fn one_declaration_makes_atomics_snapshot_and_table() {
        let some = Some::default();
        some.frames.fetch_add(5, Relaxed);
        let before = some.snapshot();
        some.frames.fetch_add(2, Relaxed);
        some.rtt_us.store(9, Relaxed);
        let since = some.snapshot().since(&before);
        assert_eq!((since.frames, since.rtt_us), (2, 9));
        let plus = since.plus(&before);
        assert_eq!((plus.frames, plus.rtt_us), (7, 9));
        let table: Vec<_> = since.table().collect();
        assert_eq!(table, [("frames", Kind::Count, 2), ("µs RTT", Kind::Gauge, 9)]);
        let json = serde_json::to_value(since).unwrap();
        assert_eq!(json, serde_json::json!({ "frames": 2, "rtt_us": 9 }));
    }
}
