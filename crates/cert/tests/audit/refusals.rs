//! Sizes and numbers that do not fit a layer: refused, with its name.

use certiseg_cert::{Conv, Layer, audit};

use crate::dense::plain;

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let kernel = [1.0f32; 18];
    let conv = |channels, k| plain(&kernel[..channels * k * k], [channels, 1], k, 1);
    let known = Layer::Normalize { std: &[1.0; 6] };
    let fails = |layer: Layer, start: &str, part: &str| {
        let error = audit(&[known.clone(), layer], 5, 4)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(start) && error.contains(part), "{error}");
    };
    let residual = |conv, padding| Layer::Residual {
        name: "r",
        conv,
        padding,
    };
    let six = plain(&kernel[..6], [1, 6], 1, 1);
    fails(
        residual(conv(1, 3), 1),
        "layer r: ",
        "channels of the input is 6",
    );
    fails(residual(six, 1), "layer r: ", "changes the size of the map");
    let strided = Conv { stride: 2, ..six };
    fails(residual(strided, 0), "layer r: ", "use stride 1");
    let transposed = Conv {
        transposed: true,
        out_channels: 6,
        in_channels: 1,
        ..six
    };
    fails(residual(transposed, 0), "layer r: ", "use stride 1");
    fails(
        Layer::GroupSort { size: 4 },
        "layer groupsort: ",
        "channels is 6; expected a multiple of 4",
    );
    fails(
        Layer::GroupSort { size: 0 },
        "layer groupsort: ",
        "size of a group is 0",
    );
    let turned = |normal| Layer::HouseHolder { name: "h", normal };
    fails(
        turned(&[1.0; 4]),
        "layer h: ",
        "channels of the input is 6; expected 4",
    );
    fails(
        turned(&[1.0, 0.0, 0.0, f32::NAN, 0.0, 0.0]),
        "layer h: ",
        "normal 3 is NaN",
    );
    let pool = |size, stride| Layer::Pool { size, stride };
    fails(
        pool(5, 1),
        "layer pool: ",
        "width is 4; expected at least 5",
    );
    fails(pool(0, 1), "layer pool: ", "size of a window is 0");
    fails(pool(1, 0), "layer pool: ", "stride is 0");
    fails(
        Layer::PixelShuffle { factor: 2 },
        "layer pixelshuffle: ",
        "a multiple of 4",
    );
    fails(
        Layer::PixelUnshuffle { factor: 2 },
        "layer pixelunshuffle: ",
        "height is 5",
    );
    fails(
        Layer::Upsample { factor: 0 },
        "layer upsample: ",
        "factor is 0",
    );
    fails(
        Layer::Upsample { factor: usize::MAX },
        "layer upsample: ",
        "a smaller factor",
    );
    let parts = |parts| Layer::Split { parts };
    fails(parts(vec![]), "layer split: ", "expected 0");
    fails(
        parts(vec![(3, vec![]), (2, vec![])]),
        "layer split: ",
        "channels of the input is 6; expected 5",
    );
    fails(
        parts(vec![(3, vec![]), (3, vec![Layer::MaxMin])]),
        "layer maxmin: ",
        "an even number",
    );
    fails(
        parts(vec![(3, vec![]), (3, vec![pool(2, 2)])]),
        "layer split: ",
        "height of a branch is 2; expected 5",
    );
    let sum = |weights, branches| Layer::Sum {
        name: "s",
        weights,
        branches,
    };
    fails(sum(&[], vec![]), "layer s: ", "branches is 0");
    fails(
        sum(&[1.0], vec![vec![], vec![]]),
        "layer s: ",
        "weights is 1; expected 2",
    );
    fails(
        sum(&[1.0, f32::INFINITY], vec![vec![], vec![]]),
        "layer s: ",
        "weight 1 is inf",
    );
    let fewer = vec![
        vec![],
        vec![
            Layer::Upsample { factor: 2 },
            Layer::PixelUnshuffle { factor: 2 },
        ],
    ];
    fails(
        sum(&[1.0; 2], fewer),
        "layer s: ",
        "channels of a branch is 24; expected 6",
    );
    let prescaled = |scale, factor, branch| Layer::Prescaled {
        name: "p",
        scale,
        factor,
        branch,
    };
    fails(
        prescaled(f32::NAN, 1.0, vec![]),
        "layer p: ",
        "scale 0 is NaN",
    );
    fails(
        prescaled(1.0, f32::NAN, vec![]),
        "layer p: ",
        "factor 0 is NaN",
    );
    fails(
        prescaled(1.0, 1.0, vec![pool(2, 1)]),
        "layer p: ",
        "height of a branch is 4; expected 5",
    );
}
