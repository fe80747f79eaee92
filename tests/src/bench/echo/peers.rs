//! Other cancellers, as they come, with what was played as their reference: nobody tells them of two clocks.

use std::io;

use sonora::config::{Config, EchoCanceller};
use sonora::{AudioProcessing, StreamConfig};

use super::case::{FRAME, Scene};
use super::chain::Outcome;
use super::cpu::Stopwatch;

/// Length of speex's filter: 200 ms.
const SPEEX_FILTER: i32 = 9_600;

/// `sonora`, WebRTC's whole pipeline, with its echo canceller and high-pass filter on.
///
/// # Errors
/// When it refuses a frame.
pub fn sonora(scene: &Scene) -> io::Result<Outcome> {
    let config = Config { echo_canceller: Some(EchoCanceller::default()), ..Config::default() };
    let stream = StreamConfig::new(48_000, 1);
    let mut pipeline =
        AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
    let mut rendered = [0f32; FRAME];
    each_frame(scene, |far, frame, out| {
        pipeline.process_render_f32(&[far], &mut [&mut rendered]).map_err(io::Error::other)?;
        pipeline.process_capture_f32(&[frame], &mut [out]).map_err(io::Error::other)
    })
}

/// speexdsp by the crate `aec-rs`, with its residual echo suppressor on.
///
/// # Errors
/// Never.
pub fn speex(scene: &Scene) -> io::Result<Outcome> {
    let config = aec_rs::AecConfig {
        frame_size: FRAME,
        filter_length: SPEEX_FILTER,
        sample_rate: 48_000,
        enable_preprocess: true,
    };
    let canceller = aec_rs::Aec::new(&config);
    let whole = |frame: &[f32]| -> Vec<i16> { frame.iter().map(|x| (x * 32_767.0) as i16).collect() };
    let mut cancelled = [0i16; FRAME];
    each_frame(scene, |far, frame, out| {
        canceller.cancel_echo(&whole(frame), &whole(far), &mut cancelled);
        for (out, sample) in out.iter_mut().zip(&cancelled) {
            *out = f32::from(*sample) / 32_767.0;
        }
        Ok(())
    })
}

fn each_frame(
    scene: &Scene,
    mut process: impl FnMut(&[f32], &[f32], &mut [f32]) -> io::Result<()>,
) -> io::Result<Outcome> {
    let mut output = vec![0f32; scene.microphone.len()];
    let mut watch = Stopwatch::default();
    let frames = scene.far.chunks_exact(FRAME).zip(scene.microphone.chunks_exact(FRAME));
    for ((far, frame), out) in frames.zip(output.chunks_exact_mut(FRAME)) {
        watch.start();
        process(far, frame, out)?;
        watch.stop();
    }
    Ok(Outcome { output, cpu_us: watch.frame_us(), report: None, ducked: [0; 2] })
}
