//! Where the time goes: stages of a training step and kinds of layers, recorded by the thread that
//! runs them while a profile is taken. Taking none costs a look at one flag per layer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

/// What a layer was busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    /// The layer itself.
    Forward,
    /// The gradient in what it read.
    InputGradient,
    /// The gradient in its weights.
    WeightGradient,
}

/// Time and work of one kind of layer in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// How often.
    pub calls: u64,
    /// Wall time.
    pub seconds: f64,
    /// Floating-point operations, two per product and sum; products with the border are counted.
    pub flop: f64,
}

/// Sums over all that ran while the profile was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Seconds per stage, in the order of their first appearance.
    pub stages: Vec<(&'static str, f64)>,
    /// By kind of layer and pass.
    pub layers: BTreeMap<(String, Pass), Cost>,
}

/// A profile under way.
#[derive(Default)]
struct Taken {
    profile: Profile,
    backward: bool,
}

thread_local!(static TAKEN: RefCell<Option<Taken>> = const { RefCell::new(None) });

/// The stage in which gradients run; layers run there are [`Pass::InputGradient`].
pub(crate) const BACKWARD: &str = "backward";

/// Begins a profile of this thread; one under way is dropped.
pub fn start() {
    TAKEN.set(Some(Taken::default()));
}

/// Ends the profile of this thread; empty where none was begun.
pub fn stop() -> Profile {
    TAKEN.take().unwrap_or_default().profile
}

fn under_way() -> bool {
    TAKEN.with_borrow(Option::is_some)
}

/// Runs a stage.
pub(crate) fn stage<R>(name: &'static str, work: impl FnOnce() -> R) -> R {
    if !under_way() {
        return work();
    }
    let inside = |taken: &mut Option<Taken>, backward| {
        taken.iter_mut().for_each(|taken| taken.backward = backward);
    };
    TAKEN.with_borrow_mut(|taken| inside(taken, name == BACKWARD));
    let began = Instant::now();
    let result = work();
    let seconds = began.elapsed().as_secs_f64();
    TAKEN.with_borrow_mut(|taken| {
        inside(taken, false);
        let Some(Taken { profile, .. }) = taken else {
            return;
        };
        match profile.stages.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += seconds,
            None => profile.stages.push((name, seconds)),
        }
    });
    result
}

/// Runs a layer; `kind` names its kind, in the forward or the backward direction.
pub(crate) fn layer<R>(
    pass: Option<Pass>,
    kind: impl FnOnce(bool) -> String,
    flop: f64,
    work: impl FnOnce() -> R,
) -> R {
    if !under_way() {
        return work();
    }
    let began = Instant::now();
    let result = work();
    let seconds = began.elapsed().as_secs_f64();
    TAKEN.with_borrow_mut(|taken| {
        let Some(Taken { profile, backward }) = taken else {
            return;
        };
        let pass = pass.unwrap_or(match backward {
            true => Pass::InputGradient,
            false => Pass::Forward,
        });
        let reversed = pass == Pass::InputGradient;
        let cost = profile.layers.entry((kind(reversed), pass)).or_default();
        cost.calls += 1;
        cost.seconds += seconds;
        cost.flop += flop;
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_layers_are_summed_only_while_a_profile_is_taken() {
        let work = || {
            stage("forward", || {
                layer(None, |_| "1x1".into(), 10.0, || 1) + layer(None, |_| "1x1".into(), 5.0, || 2)
            }) + stage(BACKWARD, || {
                layer(None, |reversed| format!("{reversed}"), 7.0, || 4)
                    + layer(Some(Pass::WeightGradient), |_| "1x1".into(), 1.0, || 8)
            })
        };
        assert_eq!(work(), 15);
        assert_eq!(stop(), Profile::default());
        start();
        assert_eq!(work() + work(), 30);
        let profile = stop();
        let names: Vec<_> = profile.stages.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["forward", BACKWARD]);
        let found = |kind: &str, pass| {
            let cost = profile.layers[&(kind.to_owned(), pass)];
            (cost.calls, cost.flop)
        };
        assert_eq!(found("1x1", Pass::Forward), (4, 30.0));
        assert_eq!(found("true", Pass::InputGradient), (2, 14.0));
        assert_eq!(found("1x1", Pass::WeightGradient), (2, 2.0));
        assert_eq!(profile.layers.len(), 3);
        assert_eq!(stop(), Profile::default());
    }
}
