//! The Lipschitz constant of a network, layer by layer. Paper 001 section 5.1, appendix C.
//!
//! In l2: a sequence multiplies, branches of one input joined by concatenation take
//! sqrt(sum L_i^2), normalisation is 1/min std, MaxMin and shifts are 1. Every product is rounded
//! up. Map sizes are walked, because circular padding is a sample of the operator on Z^2 only
//! where the stride divides the size and no row is repeated.

use serde::Serialize;

use crate::conv_bound::{Bound, Conv, Method, conv_bound};
use crate::error::{Error, Result};

/// One step of a network, from (channels, height, width) to the same.
#[derive(Clone, Debug)]
pub enum Layer<'a> {
    /// (x - mean) / std, channel by channel.
    Normalize {
        /// Standard deviations, above 0.
        std: &'a [f32],
    },
    /// scale · convolution + bias.
    Conv {
        /// Name in messages.
        name: &'a str,
        /// The kernel, with its bias left out.
        conv: Conv<'a>,
        /// Rows added on each side; of a transposed convolution, rows cropped.
        padding: usize,
        /// What is added.
        wrap: Wrap,
        /// Factor of the result.
        scale: f32,
    },
    /// x + constant.
    Shift,
    /// Halves a, b of the channels to max(a, b), min(a, b); an even number of channels.
    MaxMin,
    /// The outputs of branches of the same input, one after the other along the channels, times scale.
    Concat {
        /// Sequences of layers; an empty one is the identity.
        branches: Vec<Vec<Layer<'a>>>,
        /// Factor of the result.
        scale: f32,
    },
}

/// What is beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// Zeros.
    Zeros,
    /// The other side.
    Circular,
}

/// The constant of a network and of its layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Upper bound of the joint l2 constant from input to output; finite.
    pub lipschitz: f64,
    /// In the order of the network, those of branches before their concatenation.
    pub layers: Vec<LayerBound>,
}

/// The bound of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerBound {
    /// Name; `normalize` and `concat` where it has none.
    pub name: String,
    /// Upper bound of its constant, its scale included; of a concatenation, of all branches together.
    pub norm: f64,
    /// How it was found.
    pub method: Method,
}

/// Size of a map; channels unknown until a layer tells.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Map {
    channels: Option<usize>,
    height: usize,
    width: usize,
}

/// Bounds the l2 Lipschitz constant of a network on inputs of one size.
///
/// Errors, each naming the layer: what [`conv_bound`] refuses; a size, channel count, scale or
/// standard deviation that does not fit; circular padding that would repeat or skip rows; a
/// constant beyond the range of f64.
pub fn audit(layers: &[Layer], height: usize, width: usize) -> Result<Audit> {
    for (what, got) in [("height", height), ("width", width)] {
        /// Keeps sums of sizes, paddings and extents below 2^64.
        const LARGEST: usize = 1 << 30;
        if !(1..=LARGEST).contains(&got) {
            return Err(Error::Shape {
                what,
                got,
                expected: format!("1 to {LARGEST}"),
            });
        }
    }
    let mut bounds = Vec::new();
    let (lipschitz, _) = sequence(
        layers,
        Map {
            channels: None,
            height,
            width,
        },
        &mut bounds,
    )?;
    if lipschitz.is_finite() {
        Ok(Audit {
            lipschitz,
            layers: bounds,
        })
    } else {
        Err(Error::Lipschitz { got: lipschitz })
    }
}

fn sequence(layers: &[Layer], mut map: Map, bounds: &mut Vec<LayerBound>) -> Result<(f64, Map)> {
    let mut product = 1.0f64;
    for layer in layers {
        let (norm, next) = match layer {
            Layer::Normalize { std } => {
                normalize(std, map, bounds).map_err(|e| e.in_layer("normalize"))?
            }
            Layer::Conv {
                name,
                conv,
                padding,
                wrap,
                scale,
            } => {
                let run = || -> Result<(Bound, Map)> {
                    conv.check()?;
                    let next = after_conv(conv, *padding, *wrap, map)?;
                    let Bound { norm, method } = conv_bound(conv)?;
                    Ok((
                        Bound {
                            norm: up(norm * factor(*scale)?),
                            method,
                        },
                        next,
                    ))
                };
                let (Bound { norm, method }, next) = run().map_err(|e| e.in_layer(name))?;
                bounds.push(LayerBound {
                    name: (*name).into(),
                    norm,
                    method,
                });
                (norm, next)
            }
            Layer::Shift => (1.0, map),
            Layer::MaxMin => match map.channels {
                Some(got) if got % 2 != 0 => {
                    let odd = Error::Shape {
                        what: "channels",
                        got,
                        expected: "an even number".into(),
                    };
                    return Err(odd.in_layer("maxmin"));
                }
                _ => (1.0, map),
            },
            Layer::Concat { branches, scale } => concat(branches, *scale, map, bounds)?,
        };
        // 1·norm is exact, so a network of one layer has that layer's bound.
        product = if product == 1.0 {
            norm
        } else {
            up(product * norm)
        };
        map = next;
    }
    Ok((product, map))
}

/// One step up, so that a rounded result is above the exact one; above 0, so that L divides.
fn up(value: f64) -> f64 {
    value.next_up()
}

/// |scale|, exactly.
fn factor(scale: f32) -> Result<f64> {
    match scale.is_finite() {
        true => Ok(f64::from(scale).abs()),
        false => Err(Error::Number {
            what: "scale",
            index: 0,
            value: scale,
            expected: "a finite number",
        }),
    }
}

fn expect_channels(map: Map, expected: usize) -> Result<()> {
    match map.channels {
        Some(got) if got != expected => Err(Error::Shape {
            what: "channels of the input",
            got,
            expected: expected.to_string(),
        }),
        _ => Ok(()),
    }
}

fn normalize(std: &[f32], map: Map, bounds: &mut Vec<LayerBound>) -> Result<(f64, Map)> {
    expect_channels(map, std.len())?;
    if let Some(index) = std.iter().position(|s| !(*s > 0.0 && s.is_finite())) {
        let expected = "a finite number above 0";
        return Err(Error::Number {
            what: "standard deviation",
            index,
            value: std[index],
            expected,
        });
    }
    let Some(least) = std.iter().copied().reduce(f32::min) else {
        return Err(Error::Shape {
            what: "standard deviations",
            got: 0,
            expected: "one per channel".into(),
        });
    };
    let norm = if least == 1.0 {
        1.0
    } else {
        up(1.0 / f64::from(least))
    };
    bounds.push(LayerBound {
        name: "normalize".into(),
        norm,
        method: Method::Rule,
    });
    Ok((
        norm,
        Map {
            channels: Some(std.len()),
            ..map
        },
    ))
}

fn concat(
    branches: &[Vec<Layer>],
    scale: f32,
    map: Map,
    bounds: &mut Vec<LayerBound>,
) -> Result<(f64, Map)> {
    let refuse = |what, got, expected: String| {
        Error::Shape {
            what,
            got,
            expected,
        }
        .in_layer("concat")
    };
    let mut squares = 0.0;
    let mut joined: Option<Map> = None;
    for branch in branches {
        let (norm, out) = sequence(branch, map, bounds)?;
        squares = up(squares + up(norm * norm));
        joined = Some(match joined {
            None => out,
            Some(first) if first.height != out.height => {
                return Err(refuse(
                    "height of a branch",
                    out.height,
                    first.height.to_string(),
                ));
            }
            Some(first) if first.width != out.width => {
                return Err(refuse(
                    "width of a branch",
                    out.width,
                    first.width.to_string(),
                ));
            }
            Some(first) => Map {
                channels: first
                    .channels
                    .zip(out.channels)
                    .map(|(a, b)| a.saturating_add(b)),
                ..first
            },
        });
    }
    let joined = joined.ok_or_else(|| refuse("branches", 0, "at least 1".into()))?;
    let norm = up(squares.sqrt().next_up() * factor(scale).map_err(|e| e.in_layer("concat"))?);
    bounds.push(LayerBound {
        name: "concat".into(),
        norm,
        method: Method::Rule,
    });
    Ok((norm, joined))
}

/// The map after a convolution.
fn after_conv(conv: &Conv, padding: usize, wrap: Wrap, map: Map) -> Result<Map> {
    expect_channels(map, conv.in_channels)?;
    if conv.transposed && wrap == Wrap::Circular {
        let way_out = "use zeros, which crops";
        return Err(Error::Unsupported {
            what: "circular padding of a transposed convolution",
            way_out,
        });
    }
    let side = |what, got: usize| -> Result<usize> {
        let outside = |expected| Error::Shape {
            what,
            got,
            expected,
        };
        let too_large = || outside("a smaller kernel, stride, dilation or padding".into());
        let extent = conv.extent().ok_or_else(too_large)?;
        let border = padding.checked_mul(2).ok_or_else(too_large)?;
        if conv.transposed {
            let full = (got - 1)
                .checked_mul(conv.stride)
                .and_then(|n| n.checked_add(extent))
                .ok_or_else(too_large)?;
            return match full.checked_sub(border) {
                Some(out @ 1..) => Ok(out),
                _ => Err(outside(format!(
                    "more than {border} rows or columns cropped from {full}"
                ))),
            };
        }
        let padded = got.checked_add(border).ok_or_else(too_large)?;
        let room = padded.checked_sub(extent).ok_or_else(|| {
            outside(format!(
                "at least {} for a kernel that covers {extent}",
                extent.saturating_sub(border)
            ))
        })?;
        let out = room.checked_div(conv.stride).ok_or_else(too_large)? + 1;
        if wrap == Wrap::Circular && !got.is_multiple_of(conv.stride) {
            return Err(outside(format!(
                "a multiple of stride {}: circular padding is unsound otherwise",
                conv.stride
            )));
        }
        if wrap == Wrap::Circular && out > got / conv.stride {
            let expected = format!(
                "an output of at most {} with circular padding, not {out}: rows would repeat, use less padding",
                got / conv.stride
            );
            return Err(outside(expected));
        }
        Ok(out)
    };
    Ok(Map {
        channels: Some(conv.out_channels),
        height: side("height", map.height)?,
        width: side("width", map.width)?,
    })
}
