//! What can be wrong with a codec.

/// What can be wrong with a codec, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing in the list works on this machine.
    #[error(
        "codec: no usable HEVC {what} (tried {tried}); install a driver, or set codec.{what} to \"auto\""
    )]
    NoneUsable {
        /// `encoder` or `decoder`.
        what: &'static str,
        /// Each candidate with its reason.
        tried: String,
    },
    /// FFmpeg was built without this codec.
    #[error("{0} is not in this FFmpeg")]
    Missing(String),
    /// A call into FFmpeg failed.
    #[error("{call}: {source}")]
    Ffmpeg {
        /// What was being done.
        call: &'static str,
        /// FFmpeg's answer.
        source: ffmpeg_next::Error,
    },
    /// The codec keeps frames back, which a conversation cannot afford.
    #[error("it holds frames back instead of giving one for one")]
    Delays,
    /// The codec does not make keyframes exactly when asked to.
    #[error("it makes no keyframe when asked for one, or makes one unasked")]
    Keyframes,
    /// The codec opened on hardware but works without it.
    #[error("the driver has no HEVC, FFmpeg fell back to software")]
    FellBack,
    /// What came out has another shape than what went in.
    #[error("it returns pictures of another size or format")]
    WrongShape,
    /// What came out is not what went in.
    #[error("it returns a wrong picture (off by {0} of 255 on average)")]
    WrongPicture(u32),
    /// An access unit that cannot be decoded.
    #[error("codec: corrupt access unit {0}")]
    Corrupt(u32),
}

/// For `map_err`: the failure of `call`.
pub(super) fn failed(call: &'static str) -> impl FnOnce(ffmpeg_next::Error) -> Error {
    move |source| Error::Ffmpeg { call, source }
}

/// Prepares FFmpeg; once, before anything else in this room. Its own messages go nowhere: every failure comes
/// back as an
/// [`Error`], and a probe that fails is no news.
///
/// # Errors
/// When the library cannot be initialised.
pub fn init() -> Result<(), Error> {
    ffmpeg_next::init().map_err(failed("initialise FFmpeg"))?;
    ffmpeg_next::util::log::set_level(ffmpeg_next::util::log::Level::Quiet);
    Ok(())
}
