//! Reed-Solomon over shards: of `data + parity` any `data` give the rest. Pure; the mathematics is
//! reed-solomon-simd's (S.-J. Lin, T. Y. Al-Naffouri, Y. S. Han, W.-H. Chung, "Novel Polynomial Basis With
//! Fast Fourier Transform and Its Application to Reed–Solomon Erasure Codes", IEEE Trans. Inf. Theory 62(11),
//! 2016).

use reed_solomon_simd::{EncoderResult, Error, ReedSolomonDecoder, ReedSolomonEncoder};

/// Makes parity; keeps its work space.
#[derive(Default)]
pub(crate) struct Encoder(Option<ReedSolomonEncoder>);

impl Encoder {
    /// Parity for `data`, all pieces of `length` bytes.
    ///
    /// # Errors
    /// When the counts are beyond what the code can do.
    pub(crate) fn encode<'a>(
        &mut self,
        data: impl ExactSizeIterator<Item = &'a [u8]>,
        parity: usize,
        length: usize,
    ) -> Result<EncoderResult<'_>, Error> {
        let encoder = match &mut self.0 {
            Some(encoder) => {
                encoder.reset(data.len(), parity, length)?;
                encoder
            }
            none => none.insert(ReedSolomonEncoder::new(data.len(), parity, length)?),
        };
        for piece in data {
            encoder.add_original_shard(piece)?;
        }
        encoder.encode()
    }
}

/// Restores missing data; keeps its work space.
#[derive(Default)]
pub(crate) struct Decoder(Option<ReedSolomonDecoder>);

impl Decoder {
    /// Fills in the missing data pieces of `buffer`: `counts.0 + counts.1` slots of `length` bytes, of which
    /// those in `have` came.
    ///
    /// # Errors
    /// When too few came.
    pub(crate) fn restore(
        &mut self,
        buffer: &mut [u8],
        counts: (usize, usize),
        length: usize,
        have: impl Fn(usize) -> bool,
    ) -> Result<(), Error> {
        let (data, parity) = counts;
        let decoder = match &mut self.0 {
            Some(decoder) => {
                decoder.reset(data, parity, length)?;
                decoder
            }
            none => none.insert(ReedSolomonDecoder::new(data, parity, length)?),
        };
        for (index, piece) in buffer.chunks_exact(length).take(data + parity).enumerate() {
            match index.checked_sub(data) {
                _ if !have(index) => {}
                None => decoder.add_original_shard(index, piece)?,
                Some(parity) => decoder.add_recovery_shard(parity, piece)?,
            }
        }
        let restored = decoder.decode()?;
        for (index, piece) in restored.restored_original_iter() {
            if let Some(slot) = buffer.chunks_exact_mut(length).nth(index) {
                slot.copy_from_slice(piece);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_enough_of_them_give_the_rest() {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (data, parity, length) in [(1, 1, 40), (1, 3, 2), (5, 2, 1082), (31, 8, 1000), (300, 70, 1082)] {
            let original: Vec<u8> = (0..data * length).map(|i| (i * i / 7) as u8).collect();
            let mut whole = original.clone();
            let made = encoder.encode(original.chunks_exact(length), parity, length).unwrap();
            made.recovery_iter().for_each(|piece| whole.extend_from_slice(piece));
            assert_eq!(whole.len(), (data + parity) * length);
            // Every third is lost, as many as there is parity for.
            let lost: Vec<usize> = (0..data + parity).step_by(3).take(parity).collect();
            let mut holed = whole.clone();
            lost.iter().for_each(|&i| holed[i * length..][..length].fill(0xEE));
            decoder.restore(&mut holed, (data, parity), length, |i| !lost.contains(&i)).unwrap();
            assert_eq!(&holed[..data * length], &original[..]);
        }
    }

    #[test]
    fn too_few_are_an_error() {
        let mut buffer = vec![0; 50];
        assert!(Decoder::default().restore(&mut buffer, (4, 1), 10, |i| i < 3).is_err());
    }
}
