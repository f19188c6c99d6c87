//! Minimal-norm attacks: step by step against the public ones, against a known optimum, and the laws
//! that hold for all of them.

mod laws;
mod linear;
mod noise;
mod runs;
mod several;
mod steps;
#[path = "../attacks/toys.rs"]
mod toys;
#[path = "../vectors/mod.rs"]
mod vectors;

use certiseg_cert::Metric;
use certiseg_net::attack::minimal::Method;
use certiseg_net::attack::{Attack, Criterion};

use toys::Linear;

const ACCURACY: Criterion = Criterion::Metric(Metric::Accuracy);

/// The attack of a name.
fn method(name: &str) -> Method {
    match Attack::named(name, None).unwrap() {
        Attack::Minimal(method) => method,
        other => panic!("{other:?} looks for no smallest change"),
    }
}

/// All of them, with the settings they have by name.
fn methods(steps: usize) -> Vec<Method> {
    let named = Attack::names().map(|name| Attack::named(name, Some(steps)).unwrap());
    let minimal = named.filter_map(|attack| match attack {
        Attack::Minimal(method) => Some(method),
        _ => None,
    });
    minimal.collect()
}
