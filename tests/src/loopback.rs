//! The rig's sound cards: cables between a loudspeaker and a microphone, whose clock can be changed.

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
