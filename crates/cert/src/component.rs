//! Connected components of a set of pixels: the objects of a label map or a prediction.
//! Paper 001 appendix H (eq 30) asks for the budget of each.
//!
//! Union-find in the array of the result. Each pixel points to an earlier one of its component, the
//! first pixel to itself; paths are halved when walked. As pointers lead backwards, one more pass
//! in the order of the pixels turns them into numbers in place.

use serde::{Deserialize, Serialize};

/// Which neighbours touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connectivity {
    /// Left, right, above, below.
    #[default]
    Four,
    /// Diagonal neighbours too.
    Eight,
}

/// Component of each pixel, and pixels of each component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Components {
    /// One per pixel, row by row; [`OUTSIDE`] where the pixel is not in the set.
    pub of: Vec<u32>,
    /// One per component, at least 1.
    pub sizes: Vec<usize>,
}

/// Stands for "no component".
pub(crate) const OUTSIDE: u32 = u32::MAX;

/// Components of the pixels for which `inside` holds, numbered from 0 in the order of their first
/// pixel. `inside`: row by row, `width` pixels in a row, fewer than 2^32 in all, else it panics.
pub(crate) fn components(inside: &[bool], width: usize, connectivity: Connectivity) -> Components {
    assert!(inside.len().is_multiple_of(width), "rows of {width} pixels");
    assert!(u32::try_from(inside.len()).is_ok(), "too many pixels");
    let mut of = vec![OUTSIDE; inside.len()];
    for pixel in (0..inside.len()).filter(|&pixel| inside[pixel]) {
        of[pixel] = pixel as u32;
        let (row, column) = (pixel / width, pixel % width);
        let (left, right) = (column > 0, column + 1 < width);
        let diagonal = row > 0 && connectivity == Connectivity::Eight;
        for (exists, back) in [
            (left, 1),
            (row > 0, width),
            (diagonal && left, width + 1),
            (diagonal && right, width - 1),
        ] {
            if exists && inside[pixel - back] {
                join(&mut of, pixel, pixel - back);
            }
        }
    }
    let mut sizes = Vec::new();
    for pixel in (0..of.len()).filter(|&pixel| inside[pixel]) {
        let earlier = of[pixel] as usize;
        if earlier == pixel {
            of[pixel] = sizes.len() as u32;
            sizes.push(0);
        } else {
            // numbered already
            of[pixel] = of[earlier];
        }
        sizes[of[pixel] as usize] += 1;
    }
    Components { of, sizes }
}

/// Makes one component of those of `a` and `b`.
fn join(of: &mut [u32], a: usize, b: usize) {
    let (a, b) = (first(of, a), first(of, b));
    of[a.max(b)] = a.min(b) as u32;
}

/// The first pixel of the component of `pixel`, as far as joined.
fn first(of: &mut [u32], mut pixel: usize) -> usize {
    while of[pixel] as usize != pixel {
        of[pixel] = of[of[pixel] as usize];
        pixel = of[pixel] as usize;
    }
    pixel
}

#[cfg(test)]
mod tests {
    use super::*;
    use Connectivity::{Eight, Four};
    use proptest::prelude::*;

    /// A picture: every character but `.` is inside.
    fn draw(rows: &[&str]) -> (Vec<bool>, usize) {
        let inside = rows.iter().flat_map(|row| row.bytes()).map(|b| b != b'.');
        (inside.collect(), rows[0].len())
    }

    /// The components as letters: `a` for 0.
    fn letters(rows: &[&str], connectivity: Connectivity) -> Vec<String> {
        let (inside, width) = draw(rows);
        let components = components(&inside, width, connectivity);
        check(&inside, width, connectivity, &components).unwrap();
        let letter = |&n: &u32| match n {
            OUTSIDE => '.',
            n => char::from(b'a' + n as u8),
        };
        let rows = components.of.chunks(width);
        rows.map(|row| row.iter().map(letter).collect()).collect()
    }

    /// By definition: flood the picture from every pixel not yet reached, row by row.
    fn flooded(inside: &[bool], width: usize, connectivity: Connectivity) -> Components {
        let touch = |a: usize, b: usize| {
            let rows = (a / width).abs_diff(b / width);
            let columns = (a % width).abs_diff(b % width);
            match connectivity {
                Four => rows + columns == 1,
                Eight => rows.max(columns) == 1,
            }
        };
        let mut of = vec![OUTSIDE; inside.len()];
        let mut sizes = Vec::new();
        for start in 0..inside.len() {
            if !inside[start] || of[start] != OUTSIDE {
                continue;
            }
            let number = sizes.len() as u32;
            of[start] = number;
            let (mut size, mut open) = (0, vec![start]);
            while let Some(pixel) = open.pop() {
                size += 1;
                for next in 0..inside.len() {
                    if inside[next] && of[next] == OUTSIDE && touch(pixel, next) {
                        of[next] = number;
                        open.push(next);
                    }
                }
            }
            sizes.push(size);
        }
        Components { of, sizes }
    }

    fn check(
        inside: &[bool],
        width: usize,
        connectivity: Connectivity,
        got: &Components,
    ) -> Result<(), String> {
        let expected = flooded(inside, width, connectivity);
        if *got == expected {
            Ok(())
        } else {
            Err(format!("{got:?} is not {expected:?}"))
        }
    }

    #[test]
    fn pictures_by_hand() {
        let rows = ["#.#..#", "#.#.#.", "##..#.", "...#.."];
        assert_eq!(
            letters(&rows, Four),
            ["a.b..c", "a.b.d.", "aa..d.", "...e.."]
        );
        assert_eq!(
            letters(&rows, Eight),
            ["a.a..b", "a.a.b.", "aa..b.", "...b.."]
        );
        // objects of 3, 2 and 1 pixels; a row does not touch the end of the row above
        let rows = ["##..#", "#..#.", "...#."];
        assert_eq!(letters(&rows, Four), ["aa..b", "a..c.", "...c."]);
        let (inside, width) = draw(&rows);
        assert_eq!(components(&inside, width, Four).sizes, [3, 1, 2]);
        assert_eq!(components(&inside, width, Eight).sizes, [3, 3]);
        assert_eq!(letters(&["..#", "#.."], Eight), ["..a", "b.."]);
    }

    #[test]
    fn arms_that_meet_late() {
        let comb = ["#.#.#.#", "#.#.#.#", "#######"];
        assert_eq!(letters(&comb, Four), ["a.a.a.a", "a.a.a.a", "aaaaaaa"]);
        let late = ["...#.#", ".#.#.#", ".#.###", "##..#.", "#####."];
        assert_eq!(
            letters(&late, Four),
            ["...a.a", ".a.a.a", ".a.aaa", "aa..a.", "aaaaa."]
        );
        let spiral = [
            "#########",
            "........#",
            "#######.#",
            "#.....#.#",
            "#.###.#.#",
            "#.#...#.#",
            "#.#####.#",
            "#.......#",
            "#########",
        ];
        for connectivity in [Four, Eight] {
            let got = letters(&spiral, connectivity);
            assert!(got.iter().flat_map(|row| row.bytes()).all(|b| b != b'b'));
        }
        let broken = spiral.map(|row| row.replace("#.###.#.#", "..###.#.#"));
        let broken: Vec<&str> = broken.iter().map(String::as_str).collect();
        assert!(letters(&broken, Four).concat().contains('b'));
    }

    #[test]
    fn all_none_and_thin() {
        for connectivity in [Four, Eight] {
            for width in [1, 2, 3, 6] {
                let all = components(&[true; 6], width, connectivity);
                assert_eq!((all.of, all.sizes), (vec![0; 6], vec![6]));
                let none = components(&[false; 6], width, connectivity);
                assert_eq!((none.of, none.sizes), (vec![OUTSIDE; 6], vec![]));
            }
            let empty = components(&[], 0, connectivity);
            assert_eq!((empty.of, empty.sizes), (vec![], vec![]));
            assert_eq!(
                letters(&["#", ".", "#", "#"], connectivity),
                ["a", ".", "b", "b"]
            );
            assert_eq!(letters(&["#.##"], connectivity), ["a.bb"]);
        }
    }

    #[test]
    #[should_panic(expected = "rows of 4 pixels")]
    fn ragged_rows() {
        components(&[true; 6], 4, Four);
    }

    #[test]
    fn large_checkerboard() {
        let (width, height) = (2048, 1024);
        let inside: Vec<bool> = (0..width * height)
            .map(|pixel| (pixel / width + pixel % width) % 2 == 0)
            .collect();
        let four = components(&inside, width, Four);
        assert_eq!(four.sizes, vec![1; width * height / 2]);
        assert_eq!(four.of[width + 1], width as u32 / 2);
        let eight = components(&inside, width, Eight);
        assert_eq!(eight.sizes, [width * height / 2]);
        assert!((0..inside.len()).all(|p| eight.of[p] == if inside[p] { 0 } else { OUTSIDE }));
    }

    #[test]
    fn the_comparison_sees_planted_errors() {
        let (inside, width) = draw(&["#.#", "#.#", "###"]);
        let right = components(&inside, width, Four);
        let planted = |change: fn(&mut Components)| {
            let mut wrong = right.clone();
            change(&mut wrong);
            check(&inside, width, Four, &wrong)
        };
        planted(|_| {}).unwrap();
        planted(|c| c.of[2] = 1).unwrap_err();
        planted(|c| c.of[1] = 0).unwrap_err();
        planted(|c| c.sizes[0] -= 1).unwrap_err();
        let (inside, width) = draw(&["#.", ".#"]);
        check(&inside, width, Four, &components(&inside, width, Eight)).unwrap_err();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn is_the_flooded_picture(
            width in 1usize..10,
            height in 0usize..10,
            share in 0.2f64..0.9,
            draws in proptest::collection::vec(0.0f64..1.0, 81),
        ) {
            let inside: Vec<bool> = draws[..width * height].iter().map(|&d| d < share).collect();
            for connectivity in [Four, Eight] {
                let got = components(&inside, width, connectivity);
                prop_assert_eq!(check(&inside, width, connectivity, &got), Ok(()));
            }
        }
    }
}
