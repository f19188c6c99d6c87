//! Philox4x32-10: random bits from a counter and a key, without a state (Salmon, Moraes, Dror and Shaw,
//! "Parallel random numbers: as easy as 1, 2, 3", 2011).
//!
//! | field | content |
//! |---|---|
//! | key | 64-bit seed, low word first |
//! | counter 0 | block inside the sample |
//! | counter 1 | number of the sample |
//! | counter 2 | number of the image, [`image_number`](super::image_number) |
//! | counter 3 | [`Stream`] |
//!
//! Each block gives two u64: words 1 and 0, words 3 and 2, high word first. Number j of a sample is half
//! j mod 2 of block j/2: it depends on nothing that is computed before or beside it.

const MULTIPLIERS: [u64; 2] = [0xd251_1f53, 0xcd9e_8d57];
const INCREMENTS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// Low 32 bits of a lane.
const LOW: u64 = 0xffff_ffff;

/// What random bits are for: those of different purposes have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Noise of certificates.
    Certification = 0,
    /// Noise of a training.
    Training = 1,
    /// Starts and votes of sampled points.
    Points = 2,
    /// Attacks.
    Attack = 3,
    /// Generated data.
    Data = 4,
    /// Rotations.
    Rotation = 5,
}

/// The random bits of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Philox {
    key: [u32; 2],
    /// Counters 1 to 3.
    rest: [u32; 3],
}

/// Four words of a block, each in the low half of a lane, so that the compiler multiplies several abreast.
#[inline(always)]
fn block(counter: [u64; 4], key: [u32; 2]) -> [u64; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        // halves of lanes, as processors multiply them; they are no larger anyway
        let (p, q) = (
            MULTIPLIERS[0].wrapping_mul(c0 & LOW),
            MULTIPLIERS[1].wrapping_mul(c2 & LOW),
        );
        c0 = (q >> 32) ^ c1 ^ u64::from(k0);
        c2 = (p >> 32) ^ c3 ^ u64::from(k1);
        (c1, c3) = (q & LOW, p & LOW);
        (k0, k1) = (
            k0.wrapping_add(INCREMENTS[0]),
            k1.wrapping_add(INCREMENTS[1]),
        );
    }
    [c0, c1, c2, c3]
}

impl Philox {
    /// Of a sample of an image.
    pub fn new(seed: u64, stream: Stream, image: u32, sample: u32) -> Self {
        Philox {
            key: [seed as u32, (seed >> 32) as u32],
            rest: [sample, image, stream as u32],
        }
    }

    /// Numbers 2·`first`, 2·`first` + 1 and so on: an even number of them.
    ///
    /// # Panics
    /// Where the blocks leave 32 bits: 2^33 numbers are all there are.
    #[inline(always)]
    pub fn fill(&self, first: usize, numbers: &mut [u64]) {
        let (pairs, rest) = numbers.as_chunks_mut::<2>();
        assert!(rest.is_empty(), "pairs of numbers");
        assert!(
            first + pairs.len() <= 1 << 32,
            "at most 2^33 numbers of a sample"
        );
        let [c1, c2, c3] = self.rest.map(u64::from);
        let key = self.key;
        for (place, pair) in pairs.iter_mut().enumerate() {
            let counter = [first.wrapping_add(place) as u64, c1, c2, c3];
            let [w0, w1, w2, w3] = block(counter, key);
            *pair = [w1 << 32 | w0, w3 << 32 | w2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/vectors/smoothing/philox4x32.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rows = file["rows"].as_array().unwrap();
        assert_eq!(Some(rows.len() as u64), file["header"]["count"].as_u64());
        for row in rows {
            let words = |name: &str, n: usize| -> Vec<u64> {
                let words = row[name].as_array().unwrap();
                assert_eq!(words.len(), n);
                words.iter().map(|word| word.as_u64().unwrap()).collect()
            };
            let counter = words("counter", 4).try_into().unwrap();
            let key = words("key", 2);
            let got = block(counter, [key[0] as u32, key[1] as u32]);
            assert_eq!(got.to_vec(), words("output", 4), "{row}");
        }
    }

    #[test]
    fn fields_are_where_the_table_says() {
        let seed = 0x299f_31d0_a409_3822;
        let mut bits = Philox::new(seed, Stream::Rotation, 7, 3);
        let mut numbers = [0; 4];
        bits.fill(1, &mut numbers);
        let want = |place| block([place, 3, 7, 5], [0xa409_3822, 0x299f_31d0]);
        let [w0, w1, w2, w3] = want(1);
        assert_eq!(numbers[..2], [w1 << 32 | w0, w3 << 32 | w2]);
        assert_eq!(numbers[2] & LOW, want(2)[0]);
        // the published answer for the digits of pi
        bits.rest = [0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        bits.fill(0x243f_6a88, &mut numbers[..2]);
        assert_eq!(numbers[..2], [0x94fd_cceb_d16c_fe09, 0x2412_6ea1_5001_e420]);
    }

    #[test]
    fn filling_in_parts_changes_nothing() {
        let bits = Philox::new(1, Stream::Certification, 2, 3);
        let mut whole = [0; 200];
        bits.fill(0, &mut whole);
        for cut in [2, 6, 34, 150] {
            let mut parts = [0; 200];
            let (low, high) = parts.split_at_mut(cut);
            bits.fill(cut / 2, high);
            bits.fill(0, low);
            assert_eq!(parts, whole);
        }
    }
}
