//! FFmpeg's scaler, kept while pictures stay alike: creating one takes longer than a picture does.

use ffmpeg_next::{Error, software::scaling::Context};

/// The scaler used last, with the parameters that it was created for.
pub(crate) struct ScalerCache<K>(Option<(K, Context)>);

// SAFETY: a scaler is a plain block of memory used by one thread at a time; nothing in it belongs to the
// thread that created it.
unsafe impl<K: Send> Send for ScalerCache<K> {}

impl<K> Default for ScalerCache<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq> ScalerCache<K> {
    /// The scaler for these parameters: the last one, if it was created for the same, else one that `create`
    /// makes.
    ///
    /// # Errors
    /// Those of `create`. The next call tries again.
    pub(crate) fn get(
        &mut self,
        parameters: K,
        create: impl FnOnce(&K) -> Result<Context, Error>,
    ) -> Result<&mut Context, Error> {
        let kept = self.0.take().filter(|(used, _)| *used == parameters);
        let scaler = match kept {
            Some(kept) => kept,
            None => {
                let context = create(&parameters)?;
                (parameters, context)
            }
        };
        Ok(&mut self.0.insert(scaler).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg_next::{format::Pixel, software::scaling::Flags};

    #[test]
    fn a_scaler_is_created_once_for_the_same_parameters() {
        let mut cache = ScalerCache::default();
        let mut created = Vec::new();
        for width in [64, 64, 32, 32, 64] {
            let create = |width: &u32| {
                created.push(*width);
                Context::get(Pixel::NV12, 64, 64, Pixel::YUV420P, *width, 64, Flags::POINT)
            };
            assert_eq!(cache.get(width, create).unwrap().output().width, width);
        }
        assert_eq!(created, [64, 32, 64]);
        assert!(cache.get(1, |_| Err(Error::Bug)).is_err());
    }
}
