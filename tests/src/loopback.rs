//! The rig's sound cards: cables between a loudspeaker and a microphone, whose clock can be changed; the cards
//! themselves can be pulled.

use std::fs;
use std::io;

use alsa::ctl::{Ctl, ElemId, ElemIface, ElemType, ElemValue};

/// Has the cable with this number on card `id` run at another rate: 100 010 makes it 100 ppm slower.
///
/// # Errors
/// When the card is missing, or the driver refuses.
pub fn shift_rate(id: &str, cable: u32, value: i32) -> io::Result<()> {
    let set = || {
        let ctl = Ctl::new(&format!("hw:{id}"), false)?;
        let mut element = ElemId::new(ElemIface::PCM);
        element.set_name(c"PCM Rate Shift 100000");
        element.set_device(1);
        element.set_subdevice(cable);
        let mut shift = ElemValue::new(ElemType::Integer)?;
        shift.set_id(&element);
        let _ = shift.set_integer(0, value);
        ctl.elem_write(&shift)
    };
    set().map_err(|e: alsa::Error| io::Error::from_raw_os_error(e.errno()))
}

/// Where cards are bound to their driver: the only plug that they have.
const DRIVER: &str = "/sys/bus/platform/drivers/snd_aloop";

/// Pulls the card that is the `nth` of the kernel's command line. Programs that have it open lose it at once; it
/// returns when the last of them has closed it.
///
/// # Errors
/// When the kernel refuses, or the card is out already.
pub fn unplug(nth: usize) -> io::Result<()> {
    fs::write(format!("{DRIVER}/unbind"), format!("snd_aloop.{nth}"))
}

/// Plugs it in again: it gets the lowest number that is free.
///
/// # Errors
/// When the kernel refuses, or the card is in already.
pub fn plug(nth: usize) -> io::Result<()> {
    fs::write(format!("{DRIVER}/bind"), format!("snd_aloop.{nth}"))
}

/// The number that the card `id` has now.
pub fn number(id: &str) -> Option<u32> {
    let name = fs::read_link(format!("/proc/asound/{id}")).ok()?;
    name.to_str()?.strip_prefix("card")?.parse().ok()
}
