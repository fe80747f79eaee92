//! Who speaks: two voices of espeak-ng, saying what stands here.

use std::io;

use crate::espeak::say;

const FAR: &str = "Good morning, everybody. I am glad that the two halls are finally connected, because there is \
    a lot to go through today. Last week we opened the crate with the new lenses, and, to be honest, I did \
    not expect them to be that heavy. Each of them weighs about as much as a bicycle. We put the first one \
    on the bench, switched off every lamp, and waited until nobody could see a thing. Then Peter lit a \
    single candle at the far end of the corridor. You should have been there! The flame looked as though \
    it burned right in front of us. Now, what about the schedule? The carpenters want to finish on \
    Thursday, the painters need another two days, and on Monday a school class comes to visit. Shall we \
    let the children try the microphones first, or would you rather show them the workshop? Please think \
    about the noise. Seventy excited pupils are louder than any machine that we own.";

const NEAR: &str = "Yes, I can hear you well, thank you. The picture is sharp, too; it feels as if you were \
    sitting across the table. Let me answer one thing after the other. We measured the floor yesterday, \
    and it is nearly two centimetres lower by the window than by the door. That sounds like little, but \
    a person who stands there seems to sink into the ground. Why did nobody notice? Well, the carpet \
    hides it. I would suggest a thin wooden platform, painted black, with a soft edge so that no one \
    stumbles. It costs less than a new floor, and it can be built in an afternoon. As for the visitors: \
    give them a short tour, then coffee and biscuits, and keep the workshop for the end. Jane has offered \
    to bring her violin. If the echo in the big hall bothers you, hang the heavy curtains across the back \
    wall; they swallow almost everything above a few hundred hertz.";

/// The far voice and the near voice.
const VOICES: [(&str, &str, &str); 2] = [("en-us+m3", "155", FAR), ("en-gb+f2", "165", NEAR)];

/// Both voices at 48 kHz: far, near.
///
/// # Errors
/// When espeak-ng is missing, or says nothing.
pub fn voices() -> io::Result<[Vec<f32>; 2]> {
    let [far, near] = VOICES;
    Ok([say(far.0, far.1, far.2)?, say(near.0, near.1, near.2)?])
}
