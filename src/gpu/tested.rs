//! What the self-test of a device found out, and the text that keeps it.

use super::adapter::AdapterInfo;

/// What the self-test of a device found out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tested {
    /// Invocations of a subgroup in a workgroup of 64; 0 where there are no subgroups.
    pub subgroup: u32,
    /// Invocations of a subgroup in the workgroups of kernels for matrix units; 0 where there are none.
    pub matrix_subgroup: u32,
    /// Floating-point operations a second of f32 multiply-adds, about.
    pub flops_per_second: f64,
    /// Bytes a second that a copy reads and writes, about.
    pub bytes_per_second: f64,
}

impl Tested {
    /// Of a device that was not tested: a small GPU.
    pub(super) fn assumed(info: &AdapterInfo) -> Self {
        let subgroup = if info.subgroups { info.subgroup_size.1 } else { 0 };
        let (flops_per_second, bytes_per_second) = ASSUMED_RATES;
        Self { subgroup, matrix_subgroup: info.largest_subgroup(), flops_per_second, bytes_per_second }
    }
}

/// Operations and bytes a second of a device that was not timed.
pub(super) const ASSUMED_RATES: (f64, f64) = (1e11, 1e10);

impl Tested {
    /// Of the file's text, if its first line is `head`.
    pub(super) fn parse(text: &str, head: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == head).then_some(())?;
        let mut number = || lines.next()?.split_once(' ')?.1.parse::<f64>().ok().filter(|n| *n >= 0.0);
        let (subgroup, matrix_subgroup) = (number()? as u32, number()? as u32);
        let (flops_per_second, bytes_per_second) = (number()?, number()?);
        let is_size = |n: u32| n == 0 || (n.is_power_of_two() && n <= 128);
        let fits = is_size(subgroup)
            && is_size(matrix_subgroup)
            && flops_per_second.is_normal()
            && bytes_per_second.is_normal();
        fits.then_some(Self { subgroup, matrix_subgroup, flops_per_second, bytes_per_second })
    }

    pub(super) fn text(&self, head: &str) -> String {
        let Self { subgroup, matrix_subgroup, flops_per_second, bytes_per_second } = self;
        format!(
            "{head}\nsubgroup {subgroup}\nmatrix_subgroup {matrix_subgroup}\nflops_per_second {flops_per_second}\n\
             bytes_per_second {bytes_per_second}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTED: Tested =
        Tested { subgroup: 8, matrix_subgroup: 0, flops_per_second: 1.25e11, bytes_per_second: 9.5e9 };

    #[test]
    fn what_is_kept_is_read_for_the_same_adapter_only() {
        let text = TESTED.text("wgrad a");
        assert_eq!(Tested::parse(&text, "wgrad a"), Some(TESTED));
        assert_eq!(Tested::parse(&text, "wgrad b"), None);
        for (whole, broken) in [
            ("125000000000", "-1"),
            ("p 8", "p"),
            ("p 8", "p 7"),
            ("125000000000", "0"),
            ("9500000000", "NaN"),
        ] {
            assert!(text.contains(whole));
            let broken = text.replacen(whole, broken, 1);
            assert_eq!(Tested::parse(&broken, "wgrad a"), None, "{broken}");
        }
        assert_eq!(Tested::parse(&text[..text.len() - 20], "wgrad a"), None);
        assert_eq!(Tested::parse("", ""), None);
    }
}
