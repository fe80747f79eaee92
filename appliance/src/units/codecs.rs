//! The names of the codecs that a booth tries, hardware first. FFmpeg's names, but for decoders on a VAAPI
//! device, which have none there.

/// HEVC encoders, in the order of probing.
pub const ENCODERS: [&str; 6] =
    ["hevc_vaapi", "hevc_qsv", "hevc_nvenc", "hevc_v4l2m2m", "libx265", "libkvazaar"];

/// HEVC decoders, in the order of probing.
pub const DECODERS: [&str; 5] = ["hevc_vaapi", "hevc_qsv", "hevc_cuvid", "hevc_v4l2m2m", "hevc"];
