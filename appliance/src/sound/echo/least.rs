//! The least of what was lately seen.

/// Windows that are remembered.
const WINDOWS: usize = 8;

/// The least value within the last eight windows.
#[derive(Debug, Clone)]
pub(super) struct Least {
    windows: [f32; WINDOWS],
    length: u32,
    count: u32,
}

impl Least {
    /// One with windows of `length` values.
    pub(super) fn new(length: u32) -> Self {
        Self { windows: [f32::INFINITY; WINDOWS], length, count: 0 }
    }

    pub(super) fn add(&mut self, value: f32) {
        if self.count == self.length {
            self.windows.rotate_right(1);
            self.windows[0] = f32::INFINITY;
            self.count = 0;
        }
        self.count += 1;
        self.windows[0] = self.windows[0].min(value);
    }

    /// Infinite before the first value.
    pub(super) fn get(&self) -> f32 {
        self.windows.iter().copied().fold(f32::INFINITY, f32::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_forgotten_after_eight_windows() {
        let mut least = Least::new(10);
        assert_eq!(least.get(), f32::INFINITY);
        least.add(1.0);
        for _ in 0..69 {
            least.add(3.0);
            assert_eq!(least.get(), 1.0);
        }
        for _ in 0..10 {
            least.add(2.0);
        }
        assert_eq!(least.get(), 1.0);
        least.add(3.0);
        assert_eq!(least.get(), 2.0);
    }
}
