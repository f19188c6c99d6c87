//! A synthetic data set: disks, squares and triangles on a noisy ground. Integer arithmetic only: the same bytes on
//! every platform, so a result on it can be repeated anywhere without a download.
//!
//! The ground is dark (mean 64 of 255, blocks and pixels of noise), the objects bright (mean 186): 0.4 to 0.6 apart in
//! each channel, so that a Lipschitz network can be certain. Each class leans towards one colour channel, but the
//! ranges overlap, and one object in eight wears the colour of another class: only its shape tells.

use super::Sample;
use crate::rng::Rng;

/// Number of classes.
pub const CLASSES: usize = 4;
/// Their names, by index.
pub const NAMES: [&str; CLASSES] = ["background", "disk", "square", "triangle"];

/// Side of the blocks of ground texture, in pixels.
const BLOCK: usize = 8;

/// `count` square pictures of `size` pixels a side with 1 to 4 objects each. A longer list begins with the shorter one.
pub fn shapes(seed: u64, count: usize, size: usize) -> Vec<Sample> {
    (0..count)
        .map(|index| {
            shape(
                &mut Rng::keyed(seed, &[index as u64]),
                format!("shapes_{index:05}"),
                size,
            )
        })
        .collect()
}

fn shape(rng: &mut Rng, id: String, size: usize) -> Sample {
    let pixels = size * size;
    let (mut image, mut mask) = (vec![0; 3 * pixels], vec![0; pixels]);
    let blocks = size.div_ceil(BLOCK);
    for plane in image.chunks_exact_mut(pixels.max(1)) {
        let base = between(rng, 48, 80);
        let texture: Vec<i64> = (0..blocks * blocks)
            .map(|_| base + between(rng, -16, 16))
            .collect();
        for (i, value) in plane.iter_mut().enumerate() {
            *value =
                byte(texture[i / size / BLOCK * blocks + i % size / BLOCK] + between(rng, -12, 12));
        }
    }
    for _ in 0..between(rng, 1, 4) {
        let class = between(rng, 1, 3);
        let radius = between(rng, 2 + size as i64 / 12, 3 + size as i64 / 5);
        let (row, column) = (
            between(rng, 0, size as i64 - 1),
            between(rng, 0, size as i64 - 1),
        );
        // one in eight in borrowed clothes
        let worn = if rng.below(8) == 0 {
            between(rng, 1, 3)
        } else {
            class
        };
        let colour =
            [1, 2, 3].map(|channel| between(rng, 145, 195) + if worn == channel { 48 } else { 0 });
        for i in (0..pixels).filter(|&i| {
            inside(
                class,
                radius,
                (i / size) as i64 - row,
                (i % size) as i64 - column,
            )
        }) {
            mask[i] = byte(class);
            for (channel, mean) in colour.into_iter().enumerate() {
                image[channel * pixels + i] = byte(mean + between(rng, -12, 12));
            }
        }
    }
    Sample {
        id,
        height: size,
        width: size,
        image,
        mask: Some(mask),
    }
}

/// Is the pixel `down` and `right` of the centre part of the object? All three cover about 3.1 radius².
fn inside(class: i64, radius: i64, down: i64, right: i64) -> bool {
    match class {
        1 => down * down + right * right <= radius * radius,
        2 => 8 * down.abs().max(right.abs()) <= 7 * radius,
        _ => 4 * down.abs() <= 5 * radius && 4 * 2 * right.abs() <= 4 * down + 5 * radius,
    }
}

/// Uniform in low..=high; low where the range is empty.
fn between(rng: &mut Rng, low: i64, high: i64) -> i64 {
    low + rng.below((high - low + 1).max(0) as u64) as i64
}

fn byte(value: i64) -> u8 {
    value.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_0_is_these_bytes() {
        let checksum = |seed| {
            let bytes = shapes(seed, 3, 64)
                .into_iter()
                .flat_map(|s| s.image.into_iter().chain(s.mask.unwrap()));
            Rng::hash(&bytes.collect::<Vec<u8>>())
        };
        assert_eq!(
            checksum(0),
            PINNED,
            "published results were computed on other bytes"
        );
        assert_ne!(checksum(1), PINNED);
    }

    /// Of seed 0, three pictures of 64x64.
    const PINNED: u64 = 6750872938557610923;

    #[test]
    fn a_longer_list_begins_with_the_shorter_one() {
        let (short, long) = (shapes(5, 2, 32), shapes(5, 4, 32));
        assert_eq!(short[..], long[..2]);
        assert_ne!(long[2].image, long[3].image);
    }

    #[test]
    fn every_class_is_common_and_far_from_the_ground() {
        let samples = shapes(0, 200, 64);
        let (mut counts, mut sums) = ([0u64; CLASSES], [[0u64; 3]; CLASSES]);
        for sample in &samples {
            for (i, &class) in sample.mask.as_ref().unwrap().iter().enumerate() {
                counts[usize::from(class)] += 1;
                for (channel, sum) in sums[usize::from(class)].iter_mut().enumerate() {
                    *sum += u64::from(sample.image[channel * 64 * 64 + i]);
                }
            }
        }
        let pixels: u64 = counts.iter().sum();
        let means = |class: usize| sums[class].map(|sum| sum as f64 / counts[class] as f64 / 255.0);
        for (class, count) in counts.iter().enumerate().skip(1) {
            let share = *count as f64 / pixels as f64;
            assert!((0.03..0.2).contains(&share), "class {class} covers {share}");
            for channel in 0..3 {
                let contrast = means(class)[channel] - means(0)[channel];
                assert!(
                    (0.35..0.75).contains(&contrast),
                    "class {class}, channel {channel}: {contrast}"
                );
            }
            let others = (0..3)
                .filter(|&c| c != class - 1)
                .map(|c| means(class)[c])
                .fold(0.0, f64::max);
            assert!(
                means(class)[class - 1] > others + 0.1,
                "class {class} leans towards its channel"
            );
        }
    }

    #[test]
    fn objects_have_one_area() {
        for class in 1..4 {
            let radius = 40;
            let area = (-60..=60)
                .flat_map(|y| (-60..=60).map(move |x| inside(class, radius, y, x)))
                .filter(|&b| b)
                .count();
            let ratio = area as f64 / (radius * radius) as f64;
            assert!(
                (2.9..3.4).contains(&ratio),
                "class {class}: {ratio} radius²"
            );
        }
    }

    #[test]
    fn any_size_will_do() {
        for size in [0, 1, 2, 7, 9] {
            let sample = shapes(0, 1, size).remove(0);
            assert_eq!(
                (sample.image.len(), sample.mask.unwrap().len()),
                (3 * size * size, size * size)
            );
        }
    }
}
