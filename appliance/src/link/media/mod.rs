//! Frames to datagrams and back: packets, parity, repair and feedback. No socket and no clock in here.

pub(crate) mod arrivals;
pub(crate) mod assembler;
pub(crate) mod fec;
pub(crate) mod feedback;
pub(crate) mod history;
pub(crate) mod packet;
pub(crate) mod packetizer;
pub(crate) mod receiver;
pub(crate) mod redundancy;
pub(crate) mod rx_frame;
pub(crate) mod sender;
#[cfg(test)]
pub(crate) mod test_frames;
pub(crate) mod tx_frame;
pub(crate) mod voice;
