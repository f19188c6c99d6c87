//! Augmented batches, made ahead of the training that uses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Ahead, Augment, Pictures, VOID};
use crate::Result;
use crate::rng::Rng;

/// Pictures and labels of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (B, 3, H, W), in [0, 1] but for noise.
    pub images: Vec<f32>,
    /// (B, H, W): class indices or [`VOID`].
    pub labels: Vec<u8>,
    /// B, H, W.
    pub shape: [usize; 3],
}

impl Batch {
    /// The pictures numbered `members`, each less than [`Pictures::len`], changed as `augment` says. All that is drawn is
    /// keyed by (seed, epoch, number of the picture): which batch a picture is in, and who makes it, does not matter.
    ///
    /// # Errors
    /// Those of [`Pictures::get`], of the first member that has one.
    pub fn new(
        pictures: &Pictures,
        members: &[usize],
        augment: &Augment,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        let never = AtomicBool::new(false);
        Self::until(&never, pictures, members, augment, seed, epoch)
    }

    /// As [`Batch::new`]; once `stop` is set no further picture is filled in.
    fn until(
        stop: &AtomicBool,
        pictures: &Pictures,
        members: &[usize],
        augment: &Augment,
        seed: u64,
        epoch: u64,
    ) -> Result<Self> {
        let [height, width] = pictures.size();
        let pixels = height * width;
        let mut images = vec![0.0; members.len() * 3 * pixels];
        let mut labels = vec![VOID; members.len() * pixels];
        for (place, &member) in members.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let sample = pictures.get(member)?;
            let mut rng = Rng::keyed(seed, &[AUGMENT, epoch, member as u64]);
            let image = &mut images[place * 3 * pixels..][..3 * pixels];
            let mask = &mut labels[place * pixels..][..pixels];
            augment.write(&sample, &mut rng, image, mask);
        }
        Ok(Self {
            images,
            labels,
            shape: [members.len(), height, width],
        })
    }
}

/// Key of the random streams.
const AUGMENT: u64 = 3;

/// Threads that make batches. Two read originals fast enough for any training here; where pictures are kept they
/// mostly sleep.
const WORKERS: usize = 2;

/// The batches of a plan, in its order, made ahead of use.
///
/// ```
/// use std::sync::Arc;
///
/// use certiseg_net::data::{Augment, Batches, Pictures, shapes};
///
/// let pictures = Arc::new(Pictures::of(shapes(0, 10, 32))?);
/// let augment = Augment { flip_horizontal: 0.5, ..Augment::default() };
/// augment.check()?;
/// // two epochs in steps of four; the order is the caller's
/// let plan = (0..2).flat_map(|epoch| {
///     let order: Vec<usize> = (0..10).rev().collect();
///     let steps: Vec<_> = order.chunks(4).map(|members| (epoch, members.to_vec())).collect();
///     steps
/// });
/// let mut batches = Batches::new(pictures.clone(), plan, augment, 0, 2);
/// let mut shapes = Vec::new();
/// while let Some(batch) = batches.next() {
///     shapes.push(batch?.shape); // a step
/// }
/// assert_eq!(shapes[..3], [[4, 32, 32], [4, 32, 32], [2, 32, 32]]);
/// assert_eq!(shapes.len(), 6);
/// # Ok::<(), certiseg_net::Error>(())
/// ```
pub struct Batches {
    ahead: Ahead<(u64, Vec<usize>), Batch>,
}

impl Batches {
    /// Batches of the items (epoch, members) of `plan` as [`Batch::new`] makes them. Up to `depth` are made, or being
    /// made, before they are asked for; with a depth of 0 each is made by the thread that asks.
    ///
    /// An error comes in its place of the plan, and nothing after it: those of [`Pictures::get`], and
    /// [`Error::Panic`](crate::Error::Panic).
    pub fn new<P>(
        pictures: Arc<Pictures>,
        plan: P,
        augment: Augment,
        seed: u64,
        depth: usize,
    ) -> Self
    where
        P: IntoIterator<Item = (u64, Vec<usize>)>,
        P::IntoIter: Send + 'static,
    {
        Self::on(WORKERS, pictures, plan.into_iter(), augment, seed, depth)
    }

    fn on(
        workers: usize,
        pictures: Arc<Pictures>,
        plan: impl Iterator<Item = (u64, Vec<usize>)> + Send + 'static,
        augment: Augment,
        seed: u64,
        depth: usize,
    ) -> Self {
        let make = move |(epoch, members): (u64, Vec<usize>), stop: &AtomicBool| {
            Batch::until(stop, &pictures, &members, &augment, seed, epoch)
        };
        Self {
            ahead: Ahead::new(plan, depth, workers, make),
        }
    }

    /// Batches that are made and wait to be asked for.
    pub fn ready(&self) -> usize {
        self.ahead.ready()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        self.ahead.next()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::super::{Layout, LoadSettings, Sample, list, shapes};
    use super::*;
    use crate::Error;
    use crate::data::decode::tests::{noise, save};

    fn everything() -> Augment {
        let augment = Augment {
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            rotation_degrees: 30.0,
            scale: [0.9, 1.2],
            crop_padding: 2,
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.2,
            hue: 0.1,
            noise: 0.1,
        };
        augment.check().unwrap();
        augment
    }

    /// Three epochs of 11 pictures, each in another order, in steps of `batch`.
    fn plan(batch: usize) -> Vec<(u64, Vec<usize>)> {
        let epoch = |epoch: u64| {
            let mut order: Vec<usize> = (0..11).collect();
            Rng::keyed(9, &[epoch]).shuffle(&mut order);
            let steps: Vec<_> = order.chunks(batch).map(|m| (epoch, m.to_vec())).collect();
            steps
        };
        (0..3).flat_map(epoch).collect()
    }

    #[test]
    fn a_batch_is_its_pictures_one_by_one() {
        let samples = shapes(1, 5, 16);
        let pictures = Pictures::of(samples.clone()).unwrap();
        let batch = Batch::new(&pictures, &[3, 0, 4], &everything(), 7, 2).unwrap();
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for index in [3, 0, 4] {
            let mut rng = Rng::keyed(7, &[AUGMENT, 2, index]);
            let (image, mask) = everything().apply(&samples[index as usize], &mut rng);
            images.extend(image);
            labels.extend(mask);
        }
        let shape = [3, 16, 16];
        let expected = Batch {
            images,
            labels,
            shape,
        };
        assert_eq!(batch, expected);
        let none = Batch::new(&pictures, &[], &everything(), 7, 2).unwrap();
        assert_eq!((none.images.len(), none.shape), (0, [0, 16, 16]));
    }

    #[test]
    fn trainings_go_on_with_the_pictures_they_began_with() {
        // masks drawn before there were crops, colours and noise: 2x3 pixels numbered by rows
        let sample = Sample {
            id: "a".into(),
            height: 2,
            width: 3,
            image: vec![0; 18],
            mask: Some((0..6).collect()),
        };
        let pictures = Pictures::of(vec![sample; 4]).unwrap();
        let augment = Augment {
            flip_horizontal: 0.5,
            flip_vertical: 0.5,
            scale: [0.5, 2.0],
            ..Augment::default()
        };
        let batch = Batch::new(&pictures, &[0, 1, 2, 3], &augment, 7, 5).unwrap();
        let drawn = [
            [5, 4, 4, 2, 1, 1],
            [3, 4, 5, 0, 1, 2],
            [3, 4, 5, 0, 1, 2],
            [VOID, VOID, VOID, VOID, 5, 3],
        ];
        assert_eq!(batch.labels, drawn.as_flattened());
    }

    #[test]
    fn neither_threads_nor_depth_nor_batches_change_a_picture() {
        let pictures = Arc::new(Pictures::of(shapes(1, 11, 16)).unwrap());
        let drawn = |batch: usize, depth: usize, workers: usize| {
            let plan = plan(batch);
            let steps = plan.clone().into_iter();
            let made = Batches::on(workers, pictures.clone(), steps, everything(), 3, depth);
            let mut drawn = BTreeMap::new();
            for ((epoch, members), batch) in plan.into_iter().zip(made) {
                let batch = batch.unwrap();
                let images = batch.images.chunks_exact(3 * 256).map(<[f32]>::to_vec);
                let labels = batch.labels.chunks_exact(256).map(<[u8]>::to_vec);
                for (member, picture) in members.into_iter().zip(images.zip(labels)) {
                    drawn.insert((epoch, member), picture);
                }
            }
            assert_eq!(drawn.len(), 33);
            drawn
        };
        let expected = drawn(1, 0, 0);
        for (batch, depth, workers) in [(4, 0, 0), (4, 1, 1), (3, 2, 2), (8, 4, 4), (11, 9, 4)] {
            assert_eq!(drawn(batch, depth, workers), expected);
        }
        let first = &expected[&(0, 0)];
        assert!((1..3).all(|epoch| expected[&(epoch, 0)] != *first));
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_an_error_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..11 {
            for folder in ["images", "masks"] {
                let path = dir.path().join(format!("{folder}/{i:03}.png"));
                match folder {
                    "images" => save(noise(6, 8), &path),
                    _ => save(image::GrayImage::new(8, 6), &path),
                }
            }
        }
        let entries = list(dir.path(), Layout::Folder, None).unwrap();
        let torn = |i: usize| {
            let path = dir.path().join(format!("images/{i:03}.png"));
            let whole = fs::read(&path).unwrap();
            fs::write(path, &whole[..whole.len() - 5]).unwrap();
        };
        (7..11).for_each(torn);
        for depth in [0, 1, 3] {
            let settings = LoadSettings::new(4, 4, 1);
            let pictures = Arc::new(Pictures::new(entries.clone(), settings, 1 << 20).unwrap());
            // the ninth is the first in order, though a later step has the eighth
            let plan = [vec![0, 1], vec![2, 3], vec![4, 8, 9], vec![7], vec![5, 6]];
            let plan = plan.map(|members| (0, members));
            let mut batches = Batches::new(pictures, plan, Augment::default(), 0, depth);
            for _ in 0..2 {
                assert_eq!(batches.next().unwrap().unwrap().shape, [2, 4, 4]);
            }
            let error = batches.next().unwrap().unwrap_err();
            assert!(
                matches!(&error, Error::Truncated { path, .. } if path.ends_with("008.png")),
                "{error}"
            );
            assert!(batches.next().is_none());
        }
    }

    #[test]
    fn a_plan_beyond_the_pictures_is_an_error_and_no_hang() {
        let pictures = Arc::new(Pictures::of(shapes(0, 2, 16)).unwrap());
        let plan = vec![(0, vec![2])];
        let mut batches = Batches::new(pictures, plan, Augment::default(), 0, 2);
        assert!(matches!(batches.next(), Some(Err(Error::Panic { .. }))));
    }
}
