//! GStreamer's own program on both ends, fed and read through pipes in its data protocol.
//!
//! Tuned to lose as few frames to the deadline as it can; how is told in `tests/BENCH.md`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use nix::fcntl::{FcntlArg, fcntl};

use super::keyframe_request::{RequestReceiver, RequestSender};
use crate::bench::link::clip::{FPS, Request};
use crate::bench::link::gdp;
use crate::bench::link::measure::DEADLINE_US;
use crate::bench::link::scheme::{Carrier, Frame, Scheme, Surroundings};
use crate::bench::link::viewer::{Verdict, Viewer};
use crate::child::Side;
use holobooth::realtime;

/// Access units whole, each with its time.
const UNITS: &str = "video/x-h265,stream-format=byte-stream,alignment=au";
const RTP_CAPS: &str =
    "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)H265";
/// Each original payload type with that of its retransmissions: frames and their parity.
const RTX_MAP: &str = "application/x-rtp-pt-map,96=(uint)97,122=(uint)123";
/// What must be left of the deadline, in ms, when a packet is given up: for the rest of a frame to come in,
/// and for it and those behind it to be handed on and decoded.
const MARGIN_MS: u32 = 20;
/// Room for a few large frames, so that handing one over never waits.
const PIPE_BYTES: i32 = 1 << 20;
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// With feedback at once (RFC 4585). Left to itself the session takes seconds to find out what the line
/// carries, and asks for lost packets once a second until then. Bytes a second; ns.
const SESSION: &str = "rtpsession name=session rtp-profile=avpf bandwidth=4000000 rtcp-fraction=1000000 rtcp-min-interval=100000000";

/// How long a receiver may wait for a packet and still meet the deadline, in ms.
fn patience_ms(rtt_ms: u32) -> u32 {
    (DEADLINE_US as u32 / 1000).saturating_sub(rtt_ms / 2 + MARGIN_MS)
}

fn srt_latency_ms(scheme: Scheme, rtt_ms: u32) -> u32 {
    match scheme {
        Scheme::Srt4Rtt => 4 * rtt_ms,
        Scheme::SrtFit => patience_ms(rtt_ms),
        _ => 120,
    }
}

fn sending(scheme: Scheme, rtt_ms: u32) -> String {
    let to = Side::B.address();
    let source = format!("fdsrc fd=0 ! gdpdepay ! {UNITS}");
    if scheme == Scheme::Rtp {
        return format!(
            "{SESSION} \
             {source} ! rtph265pay pt=96 mtu=1380 aggregate-mode=zero-latency config-interval=0 \
             ! rtpulpfecenc pt=122 percentage=25 multipacket=true \
             ! rtprtxsend payload-type-map={RTX_MAP} max-size-packets=1000 ! session.send_rtp_sink \
             session.send_rtp_src ! udpsink host={to} port=5000 sync=false async=false \
             udpsrc port=5001 ! session.recv_rtcp_sink \
             session.send_rtcp_src ! udpsink host={to} port=5002 sync=false async=false"
        );
    }
    let latency = srt_latency_ms(scheme, rtt_ms);
    format!(
        "{source} ! rtph265pay pt=96 mtu=1316 aggregate-mode=zero-latency config-interval=0 \
         ! srtsink uri=srt://{to}:5004?mode=caller latency={latency} sync=false async=false wait-for-connection=false"
    )
}

fn receiving(scheme: Scheme, rtt_ms: u32) -> String {
    let sink = format!("rtph265depay ! {UNITS} ! gdppay ! fdsink fd=3 sync=false async=false");
    if scheme == Scheme::Rtp {
        let to = Side::A.address();
        let latency = patience_ms(rtt_ms);
        // What cannot come in time is not asked for.
        let again = latency > rtt_ms;
        return format!(
            "{SESSION} \
             udpsrc port=5000 buffer-size=4000000 caps={RTP_CAPS} ! session.recv_rtp_sink \
             session.recv_rtp_src ! rtprtxreceive payload-type-map={RTX_MAP} ! rtpssrcdemux \
             ! rtpstorage size-time=500000000 \
             ! rtpjitterbuffer latency={latency} do-lost=true do-retransmission={again} drop-on-latency=true \
             ! rtpulpfecdec pt=122 ! rtpptdemux ignored-payload-types=<122> ! {sink} \
             session.send_rtcp_src ! udpsink host={to} port=5001 sync=false async=false \
             udpsrc port=5002 ! session.recv_rtcp_sink"
        );
    }
    let latency = srt_latency_ms(scheme, rtt_ms);
    format!("srtsrc uri=srt://:5004?mode=listener latency={latency} ! {RTP_CAPS},payload=(int)96 ! {sink}")
}

/// GStreamer's program, as urgent as a link; killed when dropped.
struct Launched(Child);

impl Launched {
    /// With `stdin` fed to descriptor 0 and `stdout` taken from descriptor 3; what it says goes to our
    /// standard error.
    fn start(elements: &str, stdin: Stdio, stdout: Stdio) -> io::Result<Self> {
        let child = Command::new("sh")
            .args([
                "-c",
                "exec chrt -f \"$@\" 3>&1 1>&2",
                "sh",
                &realtime::LINK.to_string(),
                "gst-launch-1.0",
            ])
            .args(elements.split_whitespace())
            .stdin(stdin)
            .stdout(stdout)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sending end.
pub(super) struct Sender {
    launched: Launched,
    pipe: BufWriter<File>,
    requests_in: Option<RequestReceiver>,
}

impl Sender {
    pub(super) fn start(scheme: Scheme, around: Surroundings<'_>) -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        fcntl(write.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES))?;
        let launched = Launched::start(&sending(scheme, around.rtt_ms), read.into(), Stdio::null())?;
        let mut pipe =
            BufWriter::with_capacity(PIPE_BYTES as usize, File::from(std::os::fd::OwnedFd::from(write)));
        pipe.write_all(&gdp::preamble(UNITS))?;
        pipe.flush()?;
        std::thread::sleep(STARTS);
        // SRT has no word for it.
        let requests_in = scheme.asks().then(RequestReceiver::open).transpose()?;
        Ok(Self { launched, pipe, requests_in })
    }
}

/// How long GStreamer takes to start, at the most.
const STARTS: Duration = Duration::from_millis(1000);

impl Carrier for Sender {
    fn request(&mut self) -> Request {
        Request { keyframe: self.requests_in.as_mut().is_some_and(RequestReceiver::asked), kbps: None }
    }

    fn send(&mut self, frame: Frame) -> io::Result<()> {
        if let Some(status) = self.launched.0.try_wait()? {
            return Err(io::Error::other(format!("gst-launch-1.0 ended: {status}")));
        }
        let pts_ns = u64::from(frame.number) * 1_000_000_000 / u64::from(FPS);
        let length = u32::try_from(frame.data.len()).map_err(io::Error::other)?;
        self.pipe.write_all(&gdp::unit(length, pts_ns))?;
        self.pipe.write_all(&frame.data)?;
        self.pipe.flush()
    }
}

/// The receiving end.
pub(super) fn receive(
    scheme: Scheme,
    around: Surroundings<'_>,
    viewer: &mut Viewer,
    stop: &'static AtomicBool,
) -> io::Result<()> {
    let (mut pipe, write) = io::pipe()?;
    fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES))?;
    let launched = Launched::start(&receiving(scheme, around.rtt_ms), Stdio::null(), write.into())?;
    let mut requests_out = scheme.asks().then(RequestSender::open).transpose()?;
    std::thread::scope(|scope| {
        // Its end closes the pipe, and that ends the reading.
        scope.spawn(move || {
            while !stop.load(Relaxed) {
                std::thread::sleep(POLL_INTERVAL);
            }
            drop(launched);
        });
        let ended = read_units(&mut pipe, |unit| {
            if viewer.arrived(unit) == Verdict::Broken
                && let Some(requests_out) = &mut requests_out
            {
                requests_out.ask();
            }
        });
        if !stop.swap(true, Relaxed) {
            eprintln!("gst-launch-1.0 ended early");
        }
        match ended {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(()),
        }
    })
}

fn read_units(pipe: &mut impl Read, mut each: impl FnMut(Bytes)) -> io::Result<()> {
    let mut header = [0; gdp::HEADER];
    loop {
        pipe.read_exact(&mut header)?;
        let announced =
            gdp::parse(&header).ok_or_else(|| io::Error::other("not GStreamer's data protocol"))?;
        let mut payload = vec![0; announced.length];
        pipe.read_exact(&mut payload)?;
        if announced.unit {
            each(payload.into());
        }
    }
}
