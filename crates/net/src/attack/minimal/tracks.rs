//! One run for several goals. Where steps know nothing of the goal, runs for different goals are the same
//! steps: one of them, looked at with the eyes of each goal, gives what each would give by itself.

use certiseg_cert::Norm;

use super::super::{Attacked, Duel, Passes, View};
use super::track::Track;
use super::{Goal, show};
use crate::error::Result;

/// A track per goal.
pub struct Tracks<'a> {
    duel: &'a Duel<'a>,
    tracks: Vec<Track<'a>>,
}

impl<'a> Tracks<'a> {
    /// The clean picture.
    pub fn new(duel: &'a Duel<'a>, goals: &[Goal], norm: Norm) -> Self {
        let track = |&goal| Track::new(duel, goal, norm);
        let tracks = goals.iter().map(track).collect();
        Self { duel, tracks }
    }

    /// Shows an iterate to all.
    pub fn offer(&mut self, image: &[f32], view: &View, step: usize) {
        for track in &mut self.tracks {
            track.offer(image, view, step);
        }
    }

    /// Shows an iterate with so many wishes fulfilled (no more than the view says) to the goals that it is
    /// the first to meet: their result, whatever comes later. Says whether all goals are met.
    pub fn first(&mut self, image: &[f32], view: &View, step: usize, fulfilled: usize) -> bool {
        for track in self.tracks.iter_mut().filter(|track| !track.met()) {
            if fulfilled >= track.asked() {
                track.offer(image, view, step);
            }
        }
        self.tracks.iter().all(Track::met)
    }

    /// The results in the order of the goals, after a look at the change of the last step, if there is
    /// one. The passes are those of the first: the others cost none.
    ///
    /// # Errors
    /// Those of the network.
    pub fn finish(mut self, last: Option<(&[f64], usize)>) -> Result<Vec<Attacked>> {
        if let Some((delta, step)) = last {
            let image = show(delta, self.duel.scene.image);
            let view = self.duel.look(&image)?;
            self.offer(&image, &view, step);
        }
        let found = self.tracks.into_iter().map(|track| track.finish(None));
        let mut found = found.collect::<Result<Vec<_>>>()?;
        let others = found.iter_mut().skip(1);
        others.for_each(|found| found.passes = Passes::default());
        Ok(found)
    }
}

/// The result of a run for one goal.
pub fn only(mut found: Vec<Attacked>) -> Attacked {
    found.swap_remove(0)
}
