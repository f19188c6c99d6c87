//! The polar factor X(XᵀX)^{-1/2} by the coupled Newton-Schulz iteration (Higham, *Functions of
//! Matrices*, 2008, eq. 6.35) on the small Gram matrix.
//!
//! From Y = XᵀX + δI and Z = I, with R = 1.5·I − 0.5·Z·Y: Y ← Y·R, Z ← R·Z. Y tends to the square
//! root and Z to the inverse square root where the eigenvalues lie in (0, 3), which the scale of
//! Björck's iteration proves. The shift δ keeps rounding from making one negative. One step of
//! Björck's iteration on X·Z squares what error the shift and the rounding leave, and brings the
//! norm down to one.
//!
//! The backward pass is reverse mode through the iterations: products only. The closed form
//! divides by sums of singular values and needs an iteration of its own to do so.

use super::super::matrix::{Matrix, Side};
use super::{Image, bjorck, unit};

/// The shift δ, above the rounding of a Gram matrix of trace 1e3.
const SHIFT: f64 = 1e-13;

/// Most iterations: the smallest eigenvalue δ grows by 2.25 and is one after 37.
const MOST: usize = 50;

/// Residual ‖Z·Y − I‖_F per √columns at which one last step, which squares it, follows.
const CONVERGED: f64 = 1e-9;

/// The polar factor of a tall matrix; a zero matrix is its own.
pub(super) fn polar_factor(x: &Matrix<f64>) -> Image {
    let (x, largest) = unit(x);
    let (x, _, scale) = bjorck::scaled(x);
    let size = x.cols;
    let identity = Matrix::identity(size, size);
    let mut y = x.transposed_times(&x);
    y.add_scaled(SHIFT, &identity);
    let mut z = identity.clone();
    let mut iterates = Vec::new();
    for _ in 0..MOST {
        let product = z.times(&y);
        let mut residual = product.clone();
        residual.add_scaled(-1.0, &identity);
        let error = residual.frobenius();
        let r = step(&product);
        let next = (y.times(&r), r.times(&z));
        iterates.push((std::mem::replace(&mut y, next.0), z, r));
        z = next.1;
        if error.is_nan() || error <= CONVERGED * (size as f64).sqrt() {
            break;
        }
    }
    let rough = x.times(&z);
    let defect = bjorck::defect_of(&rough);
    let last = bjorck::Step::bjorck(rough, defect);
    let w = last.image();
    let back = move |g: &Matrix<f64>| {
        let g = last.backward(g);
        // W = X·Z
        let mut in_x = g.times_transposed(&z);
        let mut in_y = Matrix::zeros(size, size);
        let mut in_z = x.transposed_times(&g);
        for (y, z, r) in iterates.iter().rev() {
            // Y′ = Y·R, Z′ = R·Z, R = 1.5·I − 0.5·Z·Y
            let mut in_r = y.transposed_times(&in_y);
            in_r.add_product(1.0, &in_z, Side::Plain, z, Side::Transposed);
            let mut before = in_y.times_transposed(r);
            before.add_product(-0.5, z, Side::Transposed, &in_r, Side::Plain);
            in_y = before;
            let mut before = r.transposed_times(&in_z);
            before.add_product(-0.5, &in_r, Side::Plain, y, Side::Transposed);
            in_z = before;
        }
        // Y = XᵀX
        in_x.add_product(1.0, &x, Side::Plain, &in_y, Side::Plain);
        in_x.add_product(1.0, &x, Side::Plain, &in_y, Side::Transposed);
        in_x.scaled(1.0 / scale / largest)
    };
    (w, Box::new(back))
}

/// 1.5·I − 0.5·P.
fn step(product: &Matrix<f64>) -> Matrix<f64> {
    let mut r = product.scaled(-0.5);
    r.add_scaled(1.5, &Matrix::identity(r.rows, r.cols));
    r
}
