//! What a mean over images says of images not seen.

use super::elementary::{self, ln};
use super::lower::check_level;
use super::wide::Wide;
use crate::error::{Error, Result};

/// sqrt(ln(2/beta)/(2·M)), rounded up: with probability 1 - beta over M independent images, the mean of a
/// figure between 0 and 1 is within this of its expectation (Hoeffding), and the distribution function
/// of the figure within this everywhere (Dvoretzky, Kiefer, Wolfowitz). Not for the pixels of one image, which
/// depend on each other.
///
/// # Errors
///
/// [`Error::Shape`] for no image, [`Error::Parameter`] for a beta outside (0, 1).
pub fn band(images: usize, beta: f64) -> Result<f64> {
    check_level(beta)?;
    if images == 0 {
        return Err(Error::Shape {
            what: "number of images",
            got: 0,
            expected: "at least 1".into(),
        });
    }
    let exponent = ln(Wide::from(2.0).divided_by(Wide::from(beta)));
    let square = exponent * (1.0 + 2.0 * elementary::ERROR) / (2.0 * images as f64);
    Ok(square.sqrt() * (1.0 + 4.0 * f64::EPSILON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_of_the_design() {
        let got = band(100, 0.05).unwrap();
        assert!((got - 0.1358101516).abs() < 1e-10, "{got}");
        assert!(got >= (40f64.ln() / 200.0).sqrt());
        assert!(band(0, 0.05).is_err() && band(10, 0.0).is_err());
    }
}
