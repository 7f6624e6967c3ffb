//! `--example isa` without its driver: what it reads out of machine code; and, with `--features isa`, the launches that it lists on
//! adapters that are described, its rows and tables.

#[cfg(not(feature = "isa"))]
#[path = "../examples/isa/code.rs"]
mod code;
#[cfg(feature = "isa")]
#[path = "common/files.rs"]
mod files;
#[cfg(feature = "isa")]
#[path = "../examples/isa.rs"]
#[expect(dead_code, reason = "its main is not called, and neither is the driver")]
mod isa;

#[cfg(feature = "isa")]
use isa::code;

use code::{Mix, busiest_loop, lanes};

/// RDNA 3 of a small product, as RADV writes it: a loop that stages operands inside the loop over k, and one over the rows to store.
const CODE: &str = "\
BB0:
	s_load_b128 s[12:15], s[0:1], null                          ; f4080300 f8000000
	v_lshl_add_u32 v0, s7, 6, v0                                ; d6460000 04010c07
	s_delay_alu instid0(VALU_DEP_1)                             ; bf870001
	v_cmp_gt_u32_e32 vcc, s0, v2                                ; 7d980400
	s_cbranch_execz BB9                                         ; bfa500a8
BB1:
	s_cmp_ge_u32 s4, s5                                         ; bf090504
	s_cbranch_scc1 BB7                                          ; bfa20010
BB2:
	buffer_load_b128 v[4:7], v20, s[12:15], 0 offen             ; e05c0000 80430414
	s_waitcnt vmcnt(0)                                          ; bf8903f7
	ds_store_b128 v21, v[4:7]                                   ; db7c0000 00000415
	v_add_nc_u32_e32 v20, 16, v20                               ; 4a282890
	s_cbranch_scc1 BB2                                          ; bfa2fffa
BB3:
	s_barrier                                                   ; bfbd0000
	ds_load_b128 v[8:11], v22                                   ; dbfc0000 08000016
	v_fmac_f32_e32 v0, v8, v9                                   ; 56001308
	v_fma_f32 v1, v8, v10, v1                                   ; d6130001 04061508
	v_dual_fmac_f32 v2, v8, v11 :: v_dual_add_nc_u32 v22, 4, v22 ; c8200108 02160884
	v_dual_fmac_f32 v3, v9, v11 :: v_dual_fmac_f32 v12, v9, v10 ; c8200109 030c1509
	v_pk_fma_f16 v13, v8, v9, v13                               ; cc0e400d 1c361308
	v_mul_f32_e32 v14, v8, v9                                   ; 101c1308
	v_mad_u32_u24 v15, v8, v9, v10                              ; d60b000f 042a1308
	s_branch BB1                                                ; bfa0ffdd
BB7:
	v_fmac_f32_e32 v0, v1, v2                                   ; 56000501
	buffer_store_b32 v0, v20, s[12:15], 0 offen                 ; e0680000 80430014
	s_cbranch_vccnz BB7                                         ; bfa4fffa
BB9:
	s_endpgm                                                    ; bfb00000
";

#[test]
fn instructions_are_counted_by_kind() {
    let whole = Mix::of(CODE);
    let want = Mix {
        vector: 11,
        pairs: 2,
        matrix: 0,
        scalar: 8,
        workgroup: 2,
        memory: 2,
        scalar_loads: 1,
        multiply_adds: 8,
    };
    assert_eq!(whole, want, "waits and delays are none, and an integer's multiply-add is no multiply-add");
    assert_eq!(Mix::of(""), Mix::default());
    assert_eq!(Mix::default().per_multiply_add(), None);
}

/// The loop over k, which has a loop inside without multiply-adds and a loop after it with one.
#[test]
fn the_busiest_loop_is_the_one_whose_own_multiply_adds_are_most() {
    let (mix, inside) = busiest_loop(CODE).unwrap();
    assert_eq!((mix.vector, mix.pairs, mix.multiply_adds, inside), (8, 2, 7, 1));
    assert_eq!((mix.workgroup, mix.memory, mix.scalar), (2, 1, 5));
    assert_eq!(mix.per_multiply_add(), Some(8.0 / 7.0));
    // Multiply-adds of a loop inside count for that loop.
    let nested = "BB0:\n\tv_fmac_f32_e32 v0, v1, v2\nBB1:\n\tv_fmac_f32_e32 v0, v1, v2\n\tv_fmac_f32_e32 v0, v1, v2\n\
                  \ts_cbranch_scc1 BB1\n\ts_branch BB0\n";
    let (mix, inside) = busiest_loop(nested).unwrap();
    assert_eq!((mix.multiply_adds, inside), (2, 0));
    // A branch forward is no loop, and neither is a loop without multiply-adds looked at.
    assert_eq!(busiest_loop("BB0:\n\tv_fmac_f32_e32 v0, v1, v2\n\ts_branch BB1\nBB1:\n\ts_endpgm\n"), None);
    assert_eq!(busiest_loop("BB0:\n\tv_add_f32_e32 v0, v1, v2\n\ts_branch BB0\n"), None);
}

/// 16 x 16 x 16 multiply-adds are shared by the lanes, whose number is seen from the registers of the 256 sums.
#[test]
fn multiply_adds_of_matrix_units_are_an_invocations_share() {
    let wave64 =
        Mix::of("\tv_wmma_f32_16x16x16_f16 v[76:79], v[136:143], v[104:111], v[76:79] ; cc40404c 1d32d188");
    assert_eq!((wave64.vector, wave64.matrix, wave64.multiply_adds), (1, 1, 64));
    let wave32 = Mix::of("\tv_wmma_f32_16x16x16_f16 v[76:83], v[136:143], v[104:111], v[76:83]");
    assert_eq!(wave32.multiply_adds, 128);
}

#[test]
fn masks_tell_the_lanes() {
    assert_eq!(lanes(CODE), Some(64));
    assert_eq!(lanes("\tv_cndmask_b32_e32 v5, v5, v7, vcc_lo                        ; 020a0f05"), Some(32));
    assert_eq!(lanes("\ts_and_saveexec_b32 s0, exec_lo"), Some(32));
    assert_eq!(lanes("\tv_add_f32_e32 v0, v1, v2 ; vcc"), None);
    // The halves of a mask of 64 are scalars like any other.
    assert_eq!(lanes("\ts_mul_i32 vcc_lo, s0, s1"), None);
    assert_eq!(lanes("\ts_mov_b32 s0, exec_lo\n\ts_and_saveexec_b64 s[0:1], exec"), Some(64));
}

#[cfg(feature = "isa")]
mod listed {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::Parser;
    use wgrad::gpu::{Class, Described, FinalKernel};
    use wgrad::{DType, Gpu};

    use super::files::{files_under, read, root};
    use super::isa::adapters::{Abilities, typical, with};
    use super::isa::compile::{Device, Made};
    use super::isa::rows::{Results, Row, markdown};
    use super::isa::step::{Card, Counted, Step};
    use super::isa::translate::Translation;
    use super::isa::{Args, adapters, ladders, list, rows, run};

    fn args(line: &str) -> Result<Args, String> {
        let words = ["isa"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(words).map_err(|e| e.to_string())
    }

    /// An adapter of navi31 as RADV states it.
    fn navi31() -> Abilities {
        Abilities { subgroups: (32, 64), workgroup: 1024, workgroup_memory: 65_536, tiles: vec![16] }
    }

    #[test]
    fn a_described_device_lists_launches_and_executes_none() {
        let adapter = Described::new(typical(Class::Nvidia));
        let gpu = Gpu::builder().described(&adapter).quiet().build().unwrap();
        assert_eq!(gpu.info().facts.class, Class::Nvidia);
        let y = gpu.tensor(&[3.0; 1000], [1000]).unwrap().relu();
        assert_eq!(y.to_vec().unwrap(), vec![0.0; 1000]);
        assert_eq!(y.cast(DType::F16).dtype(), DType::F16);
        let launches = adapter.take_launches();
        let [relu, cast] = &launches[..] else { panic!("{launches:?}") };
        assert_eq!(relu.kernel.name, "unary/relu_forward");
        assert!(
            relu.kernel.text.contains("fn relu_forward") && relu.kernel.text.contains("alias Elem = f32")
        );
        assert_eq!(relu.work.bytes, 8000);
        assert_eq!(relu.groups[1..], [1, 1]);
        assert_eq!(cast.kernel.name, "cast/narrow f16");
        assert!(adapter.take_launches().is_empty());
        gpu.sync().unwrap();
    }

    /// What an adapter lacks is refused there as on any other.
    #[test]
    fn a_described_device_has_only_what_is_described() {
        let info = wgrad::gpu::AdapterInfo { f16: false, ..typical(Class::Gpu) };
        let gpu = Gpu::builder().described(&Described::new(info)).quiet().build().unwrap();
        let _ = gpu.zeros([8]).unwrap().cast(DType::F16);
        assert!(gpu.sync().unwrap_err().to_string().contains("f16"));
    }

    fn step(batch: u32, line: &str) -> Step {
        let line = format!("--launches simclr --encoder resnet8 --batch {batch} {line}");
        list(&args(&line).unwrap()).unwrap()
    }

    fn names(step: &Step) -> Vec<&str> {
        step.launches.iter().map(|launch| step.kernels[launch.kernel].name.as_str()).collect()
    }

    fn flops(step: &Step, kernel: &str) -> u64 {
        let of = |launch: &&Counted| step.kernels[launch.kernel].name.starts_with(kernel);
        step.launches.iter().filter(of).map(|launch| launch.flops).sum()
    }

    /// One step, from the views to the optimiser, with the kernels of the class.
    #[test]
    fn the_launches_of_a_step_are_those_of_the_program() {
        let nvidia = step(16, "--adapter-class nvidia");
        let launched = names(&nvidia);
        assert_eq!(launched.iter().filter(|name| name.starts_with("augment/")).count(), 1);
        assert_eq!(launched.iter().filter(|name| name.starts_with("sgd/")).count(), 1);
        let at = |start: &str| launched.iter().position(|name| name.starts_with(start)).unwrap();
        assert!(at("augment/") < at("conv/4_block_forward"));
        assert!(at("conv/4_block_forward") < at("contrastive/"));
        assert!(at("contrastive/") < at("conv/4_block_weight_gradient"));
        assert!(at("conv/4_block_weight_gradient") < at("sgd/"));
        assert!(!launched.iter().any(|name| name.contains("broadcast") || name.contains("matrix")));

        let f16 = step(16, "--adapter-class nvidia --precision f16");
        assert!(names(&f16).contains(&"conv/7_matrix/conv f16"));
        assert!(f16.kernels.iter().all(|kernel| kernel.matrix_units == kernel.name.contains("_matrix/")));
        assert_eq!(flops(&f16, "conv/7_matrix"), flops(&nvidia, "conv/4_block"), "the same products");

        let doubled = step(32, "--adapter-class nvidia");
        assert_eq!(flops(&doubled, "conv/"), 2 * flops(&nvidia, "conv/"));

        let abilities = serde_json::to_string(&navi31()).unwrap();
        let amd = step(16, &format!("--precision f16 --abilities {abilities}"));
        let conv = amd.kernels.iter().find(|kernel| kernel.name == "conv/7_matrix/conv f16").unwrap();
        assert_eq!((conv.constants["SUBGROUP"], conv.workgroup_size), (64.0, 256));
    }

    #[test]
    fn the_sum_of_rooflines_takes_the_longer_of_bytes_and_operations() {
        let kernel = |name: &str, matrix_units| FinalKernel {
            name: name.to_owned(),
            entry: "main".to_owned(),
            constants: BTreeMap::new(),
            text: String::new(),
            workgroup_size: 64,
            matrix_units,
        };
        let launch = |kernel, bytes, flops| Counted { kernel, groups: [1, 1, 1], bytes, flops };
        let step = Step {
            kernels: vec![kernel("a/a", false), kernel("b/b", true)],
            launches: vec![launch(0, 4_000_000, 1), launch(0, 1, 3_000_000), launch(1, 1, 8_000_000)],
        };
        // 4 ms of bytes and 3 ms of operations; 2 ms on matrix units.
        let table = step.table(Some(&Card { f32: 1e9, f16: 4e9, bytes: 1e9 }));
        let line = |name: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(line("a/a"), ["a/a", "2", "4.00", "0.00", "7.000"]);
        assert_eq!(line("b/b"), ["b/b", "1", "0.00", "0.01", "2.000"]);
        assert_eq!(line("all"), ["all", "3", "4.00", "0.01", "9.000"]);
        assert!(!step.table(None).contains("ms"));
    }

    /// Every rung under `shaders/`, and each of its kernels through naga's three languages.
    #[test]
    fn every_rung_is_listed_and_translated() {
        let rungs = ladders::every(&with(&navi31())).unwrap();
        for family in ["matmul", "conv", "contrastive"] {
            let number = |file: &str| file.split('_').next().and_then(|n| n.parse::<u32>().ok());
            let files = files_under(&format!("shaders/{family}"), &["wgsl"]);
            let files: BTreeSet<_> =
                files.iter().filter_map(|(path, _)| number(path.rsplit('/').next().unwrap())).collect();
            let of = rungs.iter().filter(|rung| rung.family == family);
            assert_eq!(of.filter_map(|rung| number(rung.file)).collect::<BTreeSet<_>>(), files, "{family}");
        }
        for rung in &rungs {
            assert!(!rung.kernels.is_empty(), "{}/{}", rung.family, rung.file);
            for kernel in &rung.kernels {
                let translation = Translation::of(kernel).unwrap();
                assert!(!translation.spirv().unwrap().is_empty());
                assert!(translation.msl().unwrap().contains("kernel void"));
                assert_eq!(translation.hlsl().is_err(), kernel.matrix_units, "{}", kernel.name);
            }
        }
    }

    #[test]
    fn ops_are_listed_too() {
        let kernels = ladders::ops(&with(&navi31())).unwrap();
        for name in ["softmax/", "adamw/", "layer_norm/", "pool2d/", "softsign/"] {
            assert!(kernels.iter().any(|kernel| kernel.name.starts_with(name)), "{name}");
        }
    }

    /// Statistics as RADV tells them of a kernel that spills.
    fn row(spilled: u64) -> Row {
        let numbers = [
            ("SGPRs", 128),
            ("VGPRs", 216),
            ("Spilled SGPRs", 0),
            ("Spilled VGPRs", spilled),
            ("LDS size", 37_888),
            ("Scratch size", 256 * spilled),
            ("Subgroups per SIMD", 4),
            ("Instructions", 1729),
            ("Latency", 47_694),
            ("Inverse Throughput", 93_754),
            ("VALU", 1171),
            ("SALU", 290),
            ("VOPD", 565),
        ];
        let statistics = numbers.map(|(name, number)| (name.to_owned(), number)).into();
        let kernel = FinalKernel {
            name: "matmul/8_subgroup/matmul".to_owned(),
            entry: "matmul".to_owned(),
            constants: [("BM".to_owned(), 128.0), ("BN".to_owned(), 64.0)].into(),
            text: String::new(),
            workgroup_size: 256,
            matrix_units: false,
        };
        let made = Made { statistics, code: super::CODE.to_owned() };
        let row = Row::of(&kernel, vec!["grid".to_owned()], &made).unwrap();
        let lacking = Made { statistics: BTreeMap::new(), code: String::new() };
        assert!(Row::of(&kernel, vec![], &lacking).unwrap_err().to_string().contains("`VGPRs`"));
        Row { rung: Some("matmul/8_subgroup".to_owned()), steps: vec!["f32".to_owned()], ..row }
    }

    #[test]
    fn a_row_has_the_drivers_numbers() {
        let row = row(2);
        assert_eq!((row.vgprs, row.spilled_vgprs, row.scratch_bytes, row.lds_bytes), (216, 2, 512, 37_888));
        assert_eq!(
            (row.waves, row.instructions, row.valu, row.vopd, row.cycles),
            (4, 1729, 1171, 565, 47_694)
        );
        assert_eq!((row.workgroup, row.lanes, row.loops_inside), (256, Some(64), 1));
        assert_eq!(row.vector_per_multiply_add, Some(8.0 / 7.0));
        assert_eq!(row.label(), "matmul/8_subgroup/matmul BM=128 BN=64");
        assert!(row.spills() && !self::row(0).spills());
        assert!(Row { spilled_sgprs: 1, ..self::row(0) }.spills());
    }

    #[test]
    fn tables_put_chips_side_by_side_and_name_what_spills() {
        let results = |chip: usize, rows| {
            let abilities = navi31();
            let device = Device { name: "a card".to_owned(), driver: "radv Mesa 25".to_owned(), abilities };
            let program = "a step".to_owned();
            Results::new(&adapters::CHIPS[chip], &device, "2026-01-31".to_owned(), program, rows)
        };
        let both = [results(0, vec![]), results(1, vec![row(2)])];
        let text = markdown(&both);
        let wanted = "| `8_subgroup 128 x 64` | 256 | – / 216 | – / 4 | – / 1171 | – / 1.14 |";
        assert!(text.contains(wanted), "{text}");
        let spill =
            "navi31: of the 1 kernels of a step, 1 spill: `matmul/8_subgroup/matmul BM=128 BN=64`: 2 vector";
        assert!(text.contains(spill), "{text}");
        assert_eq!(serde_json::from_str::<Results>(&both[1].json().unwrap()).unwrap().rows, both[1].rows);
        assert!(both[1].table().contains("1.14"));
    }

    /// The tables of the kernels' page are those of the files.
    #[test]
    fn the_written_tables_are_of_the_files() {
        let results = rows::read(&root().join("benches/results")).unwrap();
        let text = read("shaders/README.md");
        let written = text.split("<!-- isa -->\n").nth(1).unwrap().split("<!-- /isa -->").next().unwrap();
        assert_eq!(written, markdown(&results));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert!(args("").is_err(), "nothing is asked for");
        assert!(args("matmul --chip navi99").is_err());
        assert!(args("--launches simclrr").is_err());
        assert!(args("matmul --card 1,2,3").is_err(), "a card without launches");
        assert!(args("matmul --json step.json").is_err(), "launches kept without launches");
        assert!(args("--all --save runs/isa").is_err(), "nothing is named to be kept");
        for card in ["1e12", "1e12,1e12", "0,1,1", "nan,1,1"] {
            let error = run(&args(&format!("--launches simclr --card {card}")).unwrap()).unwrap_err();
            assert!(error.to_string().starts_with("--card: three rates"), "{card}: {error}");
        }
    }
}
