//! The Lipschitz constant of a network, layer by layer. Paper 001 section 5.1, appendix C.
//!
//! In l2: a sequence multiplies, the rules of [`Layer`] say the rest. Every product and sum is
//! rounded up. Map sizes are walked, because circular padding is a sample of the operator on Z^2
//! only where the stride divides the size and no row is repeated, and because branches must fit.

use serde::Serialize;

use crate::conv_bound::{Bound, Method, conv_bound, conv_bound_to};
use crate::error::{Error, Result};
use crate::layer::{Layer, Spread, Wrap};
use crate::map::{Map, misfit};

/// The constant of a network and of its layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Upper bound of the joint l2 constant from input to output; finite.
    pub lipschitz: f64,
    /// In the order of the network, those of branches before what joins them; layers that have
    /// neither a name nor a constant other than 1 are left out.
    pub layers: Vec<LayerBound>,
}

/// The bound of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerBound {
    /// Name; `normalize`, `pool`, `concat` and `split` where it has none.
    pub name: String,
    /// Upper bound of its constant, its scale included; where branches join, of all together.
    pub norm: f64,
    /// How it was found.
    pub method: Method,
}

/// Bounds the l2 Lipschitz constant of a network on inputs of one size.
///
/// Errors, each naming the layer: what [`conv_bound`] refuses; a size, channel count, scale, weight
/// or standard deviation that does not fit; circular padding that would repeat or skip rows; a
/// constant beyond the range of f64.
pub fn audit(layers: &[Layer], height: usize, width: usize) -> Result<Audit> {
    audit_with(layers, height, width, &mut |_| {})
}

/// As [`audit`]; `seen` is shown each layer as soon as its bound is known, so that a caller can tell
/// how far it is and how long each took.
pub fn audit_with(
    layers: &[Layer],
    height: usize,
    width: usize,
    seen: &mut dyn FnMut(&LayerBound),
) -> Result<Audit> {
    for (what, got) in [("height", height), ("width", width)] {
        /// Keeps sums of sizes, paddings and extents below 2^64.
        const LARGEST: usize = 1 << 30;
        if !(1..=LARGEST).contains(&got) {
            return Err(misfit(what, got, format!("1 to {LARGEST}")));
        }
    }
    let map = Map {
        channels: None,
        height,
        width,
    };
    let mut bounds = Vec::new();
    let mut found = |bound: LayerBound| {
        seen(&bound);
        bounds.push(bound);
    };
    let (lipschitz, _) = sequence(layers, map, &mut found)?;
    Ok(Audit {
        lipschitz,
        layers: bounds,
    })
}

/// The constant of a sequence, finite, and the map after it.
fn sequence(
    layers: &[Layer],
    mut map: Map,
    found: &mut dyn FnMut(LayerBound),
) -> Result<(f64, Map)> {
    let mut product = 1.0f64;
    for layer in layers {
        // Branches first: an error in one of them bears the name of its own layer.
        let ends = branches(layer, map)
            .into_iter()
            .map(|(branch, map)| sequence(branch, map, found))
            .collect::<Result<Vec<_>>>()?;
        let (name, listed) = name(layer);
        let (Bound { norm, method }, next) =
            rule(layer, map, &ends).map_err(|e| e.in_layer(name))?;
        if listed {
            let name = name.into();
            found(LayerBound { name, norm, method });
        }
        // A factor of 1 is exact: a network of one layer has that layer's bound.
        product = match product == 1.0 || norm == 1.0 {
            true => product * norm,
            false => up(product * norm),
        };
        map = next;
    }
    // infinite, or 0·infinity
    match product.is_finite() {
        true => Ok((product, map)),
        false => Err(Error::Lipschitz { got: product }),
    }
}

/// Name in messages, and whether the bound is listed.
fn name<'a>(layer: &Layer<'a>) -> (&'a str, bool) {
    match layer {
        Layer::Conv { name, .. }
        | Layer::Residual { name, .. }
        | Layer::HouseHolder { name, .. }
        | Layer::Sum { name, .. }
        | Layer::Prescaled { name, .. } => (name, true),
        Layer::Normalize { .. } => ("normalize", true),
        Layer::Pool { .. } => ("pool", true),
        Layer::Concat { .. } => ("concat", true),
        Layer::Split { .. } => ("split", true),
        Layer::Shift => ("shift", false),
        Layer::Pointwise => ("pointwise", false),
        Layer::MaxMin => ("maxmin", false),
        Layer::GroupSort { .. } => ("groupsort", false),
        Layer::Center => ("center", false),
        Layer::ImageMean => ("imagemean", false),
        Layer::ImageMax { spread } => ("imagemax", *spread == Spread::Full),
        Layer::PixelShuffle { .. } => ("pixelshuffle", false),
        Layer::PixelUnshuffle { .. } => ("pixelunshuffle", false),
        Layer::Upsample { .. } => ("upsample", false),
    }
}

/// The branches of a layer, each with the map that enters it.
fn branches<'l, 'a>(layer: &'l Layer<'a>, map: Map) -> Vec<(&'l [Layer<'a>], Map)> {
    match layer {
        Layer::Concat { branches, .. } | Layer::Sum { branches, .. } => {
            branches.iter().map(|b| (&b[..], map)).collect()
        }
        Layer::Prescaled { branch, .. } => vec![(&branch[..], map)],
        Layer::Split { parts } => parts
            .iter()
            .map(|(channels, part)| {
                let channels = Some(*channels);
                (&part[..], Map { channels, ..map })
            })
            .collect(),
        _ => vec![],
    }
}

/// The constant of a layer and the map after it, from the constants and outputs of its branches.
fn rule(layer: &Layer, map: Map, ends: &[(f64, Map)]) -> Result<(Bound, Map)> {
    let norms = ends.iter().map(|(norm, _)| *norm);
    let mut method = Method::Rule;
    let (norm, next) = match layer {
        Layer::Conv {
            conv,
            padding,
            wrap,
            scale,
            ..
        } => {
            conv.check()?;
            let next = map.convolved(conv, *padding, *wrap)?;
            let bound = conv_bound(conv)?;
            method = bound.method;
            (up(bound.norm * magnitude("scale", 0, *scale)?), next)
        }
        Layer::Residual { conv, padding, .. } => {
            conv.check()?;
            if conv.transposed || conv.stride != 1 {
                return Err(RESIDUAL_SIZE);
            }
            let next = map.convolved(conv, *padding, Wrap::Zeros)?;
            if (next.height, next.width) != (map.height, map.width) {
                return Err(RESIDUAL_SIZE);
            }
            /// With a bound of 1 the block has constant 1, and a smaller one changes nothing; this
            /// leaves room for kernels rounded to f32.
            const ENOUGH: f64 = 1.0 + 1e-6;
            let bound = conv_bound_to(conv, ENOUGH)?;
            method = bound.method;
            let norm = reflection(up(bound.norm * bound.norm));
            (norm, map.expect_channels(conv.in_channels)?)
        }
        Layer::Normalize { std } => match least(std)? {
            1.0 => (1.0, map.expect_channels(std.len())?),
            least => (up(1.0 / least), map.expect_channels(std.len())?),
        },
        Layer::HouseHolder { normal, .. } => {
            let next = map.expect_channels(normal.len())?.in_groups(2)?;
            (householder(normal)?, next)
        }
        Layer::Pool { size, stride } => {
            let next = map.pooled(*size, *stride)?;
            (size.div_ceil(*stride) as f64, next)
        }
        Layer::MaxMin => (1.0, map.in_groups(2)?),
        Layer::GroupSort { size } => (1.0, map.in_groups(*size)?),
        Layer::PixelShuffle { factor } => (1.0, map.shuffled(*factor)?),
        Layer::PixelUnshuffle { factor } => (1.0, map.unshuffled(*factor)?),
        Layer::Upsample { factor } => (1.0, map.enlarged(*factor)?),
        Layer::Shift | Layer::Pointwise | Layer::Center | Layer::ImageMean => (1.0, map),
        Layer::ImageMax { spread } => match (spread, map.height * map.width) {
            (Spread::Even, _) | (Spread::Full, 1) => (1.0, map),
            (Spread::Full, pixels) => (up((pixels as f64).sqrt()), map),
        },
        Layer::Concat { scale, .. } => {
            let squares = norms.fold(0.0, |sum, norm| up(sum + up(norm * norm)));
            let norm = up(up(squares.sqrt()) * magnitude("scale", 0, *scale)?);
            (norm, stacked(ends)?)
        }
        Layer::Split { parts } => {
            let channels = parts
                .iter()
                .try_fold(0usize, |n, part| n.checked_add(part.0));
            map.expect_channels(channels.unwrap_or(usize::MAX))?;
            (norms.fold(0.0, f64::max), stacked(ends)?)
        }
        Layer::Sum { weights, .. } => {
            if weights.len() != ends.len() {
                let expected = format!("{}, one per branch", ends.len());
                return Err(misfit("weights", weights.len(), expected));
            }
            let mut sum = 0.0;
            for (index, (&weight, norm)) in weights.iter().zip(norms).enumerate() {
                sum = up(sum + up(magnitude("weight", index, weight)? * norm));
            }
            (sum, joined(ends, |sum, out| out.expect_same(sum))?)
        }
        Layer::Prescaled { scale, factor, .. } => {
            let (branch, out) = ends[0];
            let inner = up(magnitude("scale", 0, *scale)? * branch);
            let norm = up(magnitude("factor", 0, *factor)? * up(1.0 + inner));
            (norm, out.expect_same(map)?)
        }
    };
    Ok((Bound { norm, method }, next))
}

const RESIDUAL_SIZE: Error = Error::Unsupported {
    what: "a residual block whose convolution changes the size of the map",
    way_out: "use stride 1, an odd kernel and padding dilation·(k-1)/2",
};

/// One step up, so that a rounded result is above the exact one; above 0, so that L divides.
fn up(value: f64) -> f64 {
    value.next_up()
}

/// max(1, 2·square - 1): the norm of I - 2·K^T D K where ||K||^2 is at most `square`.
fn reflection(square: f64) -> f64 {
    up(2.0 * square - 1.0).max(1.0)
}

/// |value|, exactly.
fn magnitude(what: &'static str, index: usize, value: f32) -> Result<f64> {
    match value.is_finite() {
        true => Ok(f64::from(value).abs()),
        false => Err(Error::Number {
            what,
            index,
            value,
            expected: "a finite number",
        }),
    }
}

/// The least standard deviation.
fn least(std: &[f32]) -> Result<f64> {
    if let Some(index) = std.iter().position(|s| !(*s > 0.0 && s.is_finite())) {
        return Err(Error::Number {
            what: "standard deviation",
            index,
            value: std[index],
            expected: "a finite number above 0",
        });
    }
    let least = std.iter().copied().reduce(f32::min);
    let least = least.ok_or_else(|| misfit("standard deviations", 0, "one per channel"))?;
    Ok(f64::from(least))
}

fn householder(normal: &[f32]) -> Result<f64> {
    if normal.is_empty() {
        return Err(misfit("normal", 0, "one number per channel"));
    }
    for (index, &value) in normal.iter().enumerate() {
        magnitude("normal", index, value)?;
    }
    // squares of f32 are exact in f64, their sum is not
    let (a, b) = normal.split_at(normal.len() / 2);
    let squares = a.iter().zip(b).map(|(&a, &b)| {
        let (a, b) = (f64::from(a), f64::from(b));
        up(a * a + b * b)
    });
    Ok(reflection(squares.fold(0.0, f64::max)))
}

/// The one map of all branches.
fn joined(ends: &[(f64, Map)], join: impl Fn(Map, Map) -> Result<Map>) -> Result<Map> {
    let mut maps = ends.iter().map(|(_, map)| *map);
    let first = maps
        .next()
        .ok_or_else(|| misfit("branches", 0, "at least 1"))?;
    maps.try_fold(first, join)
}

/// Branches one after the other along the channels.
fn stacked(ends: &[(f64, Map)]) -> Result<Map> {
    joined(ends, |sum, out| {
        out.expect_sides(sum)?;
        let channels = sum.channels.zip(out.channels);
        let channels = channels.map(|(a, b)| a.saturating_add(b));
        Ok(Map { channels, ..sum })
    })
}
