//! Sizes of maps, from layer to layer.

use crate::conv_bound::Conv;
use crate::error::{Error, Result};
use crate::layer::Wrap;

/// Size of a map; channels unknown until a layer tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Map {
    pub(crate) channels: Option<usize>,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// `got` of `what` does not fit.
pub(crate) fn misfit(what: &'static str, got: usize, expected: impl ToString) -> Error {
    Error::Shape {
        what,
        got,
        expected: expected.to_string(),
    }
}

fn at_least_one(what: &'static str, got: usize) -> Result<()> {
    match got {
        0 => Err(misfit(what, 0, "at least 1")),
        _ => Ok(()),
    }
}

impl Map {
    /// With this number of channels, which the map must have if it knows.
    pub(crate) fn expect_channels(self, expected: usize) -> Result<Map> {
        match self.channels {
            Some(got) if got != expected => Err(misfit("channels of the input", got, expected)),
            _ => Ok(Map {
                channels: Some(expected),
                ..self
            }),
        }
    }

    /// The same, where groups of `size` channels fit.
    pub(crate) fn in_groups(self, size: usize) -> Result<Map> {
        match self.channels {
            _ if size == 0 => at_least_one("size of a group", 0).map(|()| self),
            Some(got) if !got.is_multiple_of(size) => Err(match size {
                2 => misfit("channels", got, "an even number"),
                _ => misfit("channels", got, format!("a multiple of {size}")),
            }),
            _ => Ok(self),
        }
    }

    /// The same, where height and width are those of another branch.
    pub(crate) fn expect_sides(self, expected: Map) -> Result<Map> {
        if self.height != expected.height {
            return Err(misfit("height of a branch", self.height, expected.height));
        }
        if self.width != expected.width {
            return Err(misfit("width of a branch", self.width, expected.width));
        }
        Ok(self)
    }

    /// The same, where it is the size of another branch with as many channels.
    pub(crate) fn expect_same(self, expected: Map) -> Result<Map> {
        self.expect_sides(expected)?;
        match (self.channels, expected.channels) {
            (Some(got), Some(expected)) if got != expected => {
                Err(misfit("channels of a branch", got, expected))
            }
            (known, other) => Ok(Map {
                channels: known.or(other),
                ..self
            }),
        }
    }

    /// With both sides changed.
    fn sides(self, side: impl Fn(&'static str, usize) -> Result<usize>) -> Result<Map> {
        Ok(Map {
            channels: self.channels,
            height: side("height", self.height)?,
            width: side("width", self.width)?,
        })
    }

    /// Both sides times `factor`.
    pub(crate) fn enlarged(self, factor: usize) -> Result<Map> {
        at_least_one("factor", factor)?;
        self.sides(|what, got| {
            got.checked_mul(factor)
                .ok_or_else(|| misfit(what, got, "a smaller factor"))
        })
    }

    /// After depth to space.
    pub(crate) fn shuffled(self, factor: usize) -> Result<Map> {
        let area = area(factor)?;
        let Map { channels, .. } = self.in_groups(area)?;
        Ok(Map {
            channels: channels.map(|n| n / area),
            ..self.enlarged(factor)?
        })
    }

    /// After space to depth.
    pub(crate) fn unshuffled(self, factor: usize) -> Result<Map> {
        let area = area(factor)?;
        let next = self.sides(|what, got| match got.is_multiple_of(factor) {
            true => Ok(got / factor),
            false => Err(misfit(what, got, format!("a multiple of {factor}"))),
        })?;
        let channels = match self.channels {
            Some(got) => Some(
                got.checked_mul(area)
                    .ok_or_else(|| misfit("channels", got, "a smaller factor"))?,
            ),
            None => None,
        };
        Ok(Map { channels, ..next })
    }

    /// After pooling without padding.
    pub(crate) fn pooled(self, size: usize, stride: usize) -> Result<Map> {
        at_least_one("size of a window", size)?;
        at_least_one("stride", stride)?;
        self.sides(|what, got| match got.checked_sub(size) {
            Some(room) => Ok(room / stride + 1),
            None => Err(misfit(what, got, format!("at least {size}"))),
        })
    }

    /// After a convolution.
    pub(crate) fn convolved(self, conv: &Conv, padding: usize, wrap: Wrap) -> Result<Map> {
        self.expect_channels(conv.in_channels)?;
        if conv.transposed && wrap == Wrap::Circular {
            return Err(Error::Unsupported {
                what: "circular padding of a transposed convolution",
                way_out: "use zeros, which crops",
            });
        }
        let next = self.sides(|what, got| {
            let too_large = || misfit(what, got, "a smaller kernel, stride, dilation or padding");
            let extent = conv.extent().ok_or_else(too_large)?;
            let border = padding.checked_mul(2).ok_or_else(too_large)?;
            if conv.transposed {
                let full = (got - 1)
                    .checked_mul(conv.stride)
                    .and_then(|n| n.checked_add(extent))
                    .ok_or_else(too_large)?;
                return match full.checked_sub(border) {
                    Some(out @ 1..) => Ok(out),
                    _ => Err(misfit(
                        what,
                        got,
                        format!("more than {border} rows or columns cropped from {full}"),
                    )),
                };
            }
            let padded = got.checked_add(border).ok_or_else(too_large)?;
            let room = padded.checked_sub(extent).ok_or_else(|| {
                let least = extent.saturating_sub(border);
                misfit(
                    what,
                    got,
                    format!("at least {least} for a kernel that covers {extent}"),
                )
            })?;
            let out = room / conv.stride + 1;
            if wrap == Wrap::Circular && !got.is_multiple_of(conv.stride) {
                let stride = conv.stride;
                return Err(misfit(
                    what,
                    got,
                    format!("a multiple of stride {stride}: circular padding is unsound otherwise"),
                ));
            }
            if wrap == Wrap::Circular && out > got / conv.stride {
                let most = got / conv.stride;
                return Err(misfit(
                    what,
                    got,
                    format!(
                        "an output of at most {most} with circular padding, not {out}: rows would repeat, use less padding"
                    ),
                ));
            }
            Ok(out)
        })?;
        Ok(Map {
            channels: Some(conv.out_channels),
            ..next
        })
    }
}

/// factor^2.
fn area(factor: usize) -> Result<usize> {
    at_least_one("factor", factor)?;
    factor
        .checked_mul(factor)
        .ok_or_else(|| misfit("factor", factor, "a smaller one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_the_layers() {
        let map = Map {
            channels: Some(8),
            height: 7,
            width: 6,
        };
        let sized = |channels, height, width| Map {
            channels: Some(channels),
            height,
            width,
        };
        assert_eq!(map.pooled(3, 2).unwrap(), sized(8, 3, 2));
        assert_eq!(map.pooled(2, 3).unwrap(), sized(8, 2, 2));
        assert_eq!(map.shuffled(2).unwrap(), sized(2, 14, 12));
        let back = map.shuffled(2).unwrap().unshuffled(2);
        assert_eq!(back.unwrap(), map);
        assert_eq!(map.enlarged(3).unwrap(), sized(8, 21, 18));
        assert!(map.unshuffled(2).is_err() && map.shuffled(3).is_err());
        assert!(map.pooled(7, 1).is_err() && map.pooled(0, 1).is_err());
        for huge in [0, usize::MAX, 1 << 31, 1 << 61] {
            assert!(map.shuffled(huge).is_err() && map.unshuffled(huge).is_err());
        }
        assert!(map.enlarged(0).is_err() && map.enlarged(usize::MAX).is_err());
    }
}
