//! What names an adapter, and in which order adapters are tried: functions of descriptions, without a driver.

use std::fmt;

/// A bare number is an index and never part of a name: "15" is not in "LLVM 15.0.6".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    /// Place in the list of all adapters.
    Index(usize),
    /// PCI ids in hexadecimal, `10de:2330`; either side may be left out.
    Ids { vendor: Option<u32>, device: Option<u32> },
    /// Domain, bus, device, function in hexadecimal, `0000:01:00.0`; the domain may be left out.
    Bus([u32; 4]),
    /// Part of the name, lower case.
    Name(String),
}

impl Selector {
    /// `None` for an empty text, which names nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Self::Index(text.parse().unwrap_or(usize::MAX)));
        }
        let bus = read_bus(text).map(Self::Bus);
        Some(bus.or_else(|| read_ids(text)).unwrap_or_else(|| Self::Name(text.to_lowercase())))
    }

    /// The first of `adapters` that this names, and that `allowed` lets through. A whole name goes before a part of one, so
    /// that "NVIDIA L4" is not an "NVIDIA L40".
    pub(super) fn find(
        &self,
        adapters: &[wgpu::AdapterInfo],
        allowed: impl Fn(&wgpu::AdapterInfo) -> bool,
    ) -> Option<usize> {
        let first = |fits: &dyn Fn(usize, &wgpu::AdapterInfo) -> bool| {
            adapters.iter().enumerate().position(|(i, a)| allowed(a) && fits(i, a))
        };
        let is = |wanted: Option<u32>, id: u32| wanted.is_none_or(|wanted| wanted == id);
        match self {
            Self::Index(index) => first(&|i, _| i == *index),
            Self::Ids { vendor, device } => first(&|_, a| is(*vendor, a.vendor) && is(*device, a.device)),
            Self::Bus(wanted) => first(&|_, a| read_bus(&a.device_pci_bus_id) == Some(*wanted)),
            Self::Name(part) => first(&|_, a| a.name.to_lowercase() == *part)
                .or_else(|| first(&|_, a| a.name.to_lowercase().contains(part))),
        }
    }
}

/// Completes "none".
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |id: &Option<u32>| id.map(|id| format!("{id:04x}")).unwrap_or_default();
        match self {
            Self::Index(index) => write!(f, "with the index {index}"),
            Self::Ids { vendor, device } => {
                write!(f, "with the PCI ids {}:{}", hex(vendor), hex(device))
            }
            Self::Bus([domain, bus, device, function]) => {
                write!(f, "on the PCI bus {domain:04x}:{bus:02x}:{device:02x}.{function:x}")
            }
            Self::Name(part) => write!(f, "named like \"{part}\""),
        }
    }
}

/// A hexadecimal number of so many digits.
fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let is = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// `01:00.0` or `0000:01:00.0`; nvidia-smi writes eight digits of the domain.
fn read_bus(text: &str) -> Option<[u32; 4]> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
    Some([hex(domain, 4..=8)?, hex(bus, 2..=2)?, hex(device, 2..=2)?, hex(function, 1..=1)?])
}

/// `10de:2330`, `10de:` or `:2330`, as `lspci -d` takes them.
fn read_ids(text: &str) -> Option<Selector> {
    let (vendor, device) = text.split_once(':')?;
    let id = |text: &str| if text.is_empty() { Some(None) } else { hex(text, 4..=8).map(Some) };
    let (vendor, device) = (id(vendor)?, id(device)?);
    (vendor.is_some() || device.is_some()).then_some(Selector::Ids { vendor, device })
}

/// Sorts into the order of choice: discrete, integrated, virtual, other, CPU. In a class Metal goes before Vulkan and Vulkan
/// before DX12, as DX12 has no matrix units in wgpu, and Mesa's Dozen, which is Vulkan on top of DX12, goes last; so a card seen through
/// several of them is taken through the first. Among equals the driver's order stays.
pub(super) fn sort<T>(adapters: &mut [T], info: impl Fn(&T) -> wgpu::AdapterInfo) {
    adapters.sort_by_cached_key(|adapter| {
        let info = info(adapter);
        let class = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        };
        let backend = match info.backend {
            wgpu::Backend::Metal => 0,
            wgpu::Backend::Vulkan if info.driver != "Dozen" => 1,
            wgpu::Backend::Dx12 => 2,
            _ => 3,
        };
        (class, backend)
    });
}

/// One adapter in a list: `0 NVIDIA H100 (10de:2330, 0000:01:00.0, Vulkan)`.
pub(super) fn line(index: usize, info: &wgpu::AdapterInfo) -> String {
    let facts =
        [ids(info.vendor, info.device), info.device_pci_bus_id.clone(), format!("{:?}", info.backend)];
    let facts: Vec<_> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    format!("{index} {} ({})", info.name, facts.join(", "))
}

/// `10de:2330`; empty where the backend tells no ids.
pub(super) fn ids(vendor: u32, device: u32) -> String {
    if vendor == 0 { String::new() } else { format!("{vendor:04x}:{device:04x}") }
}

#[cfg(test)]
mod tests {
    use super::{Selector, line, sort};
    use wgpu::{AdapterInfo, Backend, DeviceType};

    fn card(
        name: &str,
        device_type: DeviceType,
        backend: Backend,
        ids: (u32, u32),
        bus: &str,
    ) -> AdapterInfo {
        AdapterInfo {
            name: name.into(),
            vendor: ids.0,
            device: ids.1,
            device_pci_bus_id: bus.into(),
            ..AdapterInfo::new(device_type, backend)
        }
    }

    fn gpus() -> Vec<AdapterInfo> {
        let card = |name, ids, bus| card(name, DeviceType::DiscreteGpu, Backend::Vulkan, ids, bus);
        let cpu = ("llvmpipe (LLVM 15.0.6, 256 bits)", DeviceType::Cpu, Backend::Vulkan, (0x10005, 0), "");
        vec![
            card("NVIDIA L40", (0x10de, 0x26b5), "0000:01:00.0"),
            card("NVIDIA L4", (0x10de, 0x27b8), "0000:02:00.0"),
            card("NVIDIA L4", (0x10de, 0x27b8), "0001:02:00.0"),
            self::card(cpu.0, cpu.1, cpu.2, cpu.3, cpu.4),
        ]
    }

    fn find(text: &str) -> Option<usize> {
        Selector::parse(text).unwrap().find(&gpus(), |_| true)
    }

    #[test]
    fn a_number_is_an_index_and_no_part_of_a_name() {
        for i in 0..4 {
            assert_eq!(find(&i.to_string()), Some(i));
            assert_eq!(find(&format!(" {i} ")), Some(i));
        }
        for none in ["4", "15", "256", "99999999999999999999999"] {
            assert_eq!(find(none), None, "{none}");
        }
        assert_eq!(find("LLVM 15"), Some(3));
    }

    #[test]
    fn ids_name_a_card() {
        for (text, found) in [
            ("10de:26b5", Some(0)),
            ("10DE:27B8", Some(1)),
            (":27b8", Some(1)),
            ("10de:", Some(0)),
            ("10005:0000", Some(3)),
            ("10de:0000", None),
            ("1002:", None),
        ] {
            assert_eq!(find(text), found, "{text}");
        }
    }

    /// Two cards of one name differ by bus and by index.
    #[test]
    fn a_bus_names_one_of_two_equal_cards() {
        for (text, found) in [
            ("0000:02:00.0", Some(1)),
            ("02:00.0", Some(1)),
            ("00000000:02:00.0", Some(1)),
            ("0001:02:00.0", Some(2)),
            ("0000:03:00.0", None),
            ("2", Some(2)),
        ] {
            assert_eq!(find(text), found, "{text}");
        }
    }

    #[test]
    fn a_whole_name_goes_before_a_part() {
        assert_eq!(
            (find("nvidia l4"), find("l4"), find("L40"), find("PIPE")),
            (Some(1), Some(0), Some(0), Some(3))
        );
        assert_eq!(find("AMD"), None);
        assert_eq!((Selector::parse(""), Selector::parse("  ")), (None, None));
        for name in [":", "10de:xyz", "1:2", "a:b.c", "::.", "1.0", "LLVM 15.0.6", "1-2"] {
            assert!(matches!(Selector::parse(name), Some(Selector::Name(_))), "{name}");
        }
        let no_cpu = |a: &AdapterInfo| a.device_type != DeviceType::Cpu;
        assert_eq!(Selector::parse("3").unwrap().find(&gpus(), no_cpu), None);
    }

    /// What an error says was asked for reads the same again.
    #[test]
    fn a_selector_prints_what_it_was_read_from() {
        for text in ["10de:26b5", ":27b8", "10de:", "0001:02:00.0", "7"] {
            let printed = Selector::parse(text).unwrap().to_string();
            assert!(printed.ends_with(&format!(" {text}")), "{printed}");
        }
        assert_eq!(Selector::parse("02:00.0").unwrap().to_string(), "on the PCI bus 0000:02:00.0");
        assert_eq!(line(1, &gpus()[1]), "1 NVIDIA L4 (10de:27b8, 0000:02:00.0, Vulkan)");
        assert_eq!(line(3, &gpus()[3]), "3 llvmpipe (LLVM 15.0.6, 256 bits) (10005:0000, Vulkan)");
        let metal = card("Apple M2", DeviceType::IntegratedGpu, Backend::Metal, (0, 0), "");
        assert_eq!(line(0, &metal), "0 Apple M2 (Metal)");
    }

    fn sorted(adapters: &[(&str, DeviceType, Backend)]) -> Vec<String> {
        let mut adapters: Vec<_> =
            adapters.iter().map(|&(name, class, backend)| card(name, class, backend, (1, 1), "")).collect();
        for adapter in adapters.iter_mut().filter(|adapter| adapter.name.starts_with("Dozen")) {
            adapter.driver = "Dozen".into();
        }
        sort(&mut adapters, Clone::clone);
        adapters.into_iter().map(|a| format!("{} {}", a.name, a.backend)).collect()
    }

    #[test]
    fn discrete_goes_before_integrated_and_cpus_are_last() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let (vk, dx) = (Backend::Vulkan, Backend::Dx12);
        // A hybrid laptop of Linux; then of Windows, whose discrete card only DX12 shows.
        let laptop = [("lavapipe", Cpu, vk), ("Iris", IntegratedGpu, vk), ("RTX", DiscreteGpu, vk)];
        assert_eq!(sorted(&laptop), ["RTX vulkan", "Iris vulkan", "lavapipe vulkan"]);
        let laptop = [("Iris", IntegratedGpu, vk), ("WARP", Cpu, dx), ("RTX", DiscreteGpu, dx)];
        assert_eq!(sorted(&laptop), ["RTX dx12", "Iris vulkan", "WARP dx12"]);
        let all = [("o", Other, vk), ("c", Cpu, vk), ("v", VirtualGpu, vk), ("d", DiscreteGpu, vk)];
        assert_eq!(sorted(&all), ["d vulkan", "v vulkan", "o vulkan", "c vulkan"]);
    }

    /// Two cards through three drivers, in whatever order wgpu asks these: Vulkan first, and of each driver its own order.
    #[test]
    fn a_card_is_taken_through_the_same_driver_always() {
        let see =
            |backend, names: [&'static str; 2]| names.map(|name| (name, DeviceType::DiscreteGpu, backend));
        let own = see(Backend::Vulkan, ["A", "B"]);
        let translated = see(Backend::Vulkan, ["Dozen A", "Dozen B"]);
        let dx = see(Backend::Dx12, ["A", "B"]);
        let want = ["A vulkan", "B vulkan", "A dx12", "B dx12", "Dozen A vulkan", "Dozen B vulkan"];
        for order in [[&own, &translated, &dx], [&dx, &translated, &own], [&translated, &dx, &own]] {
            let all: Vec<_> = order.into_iter().flatten().copied().collect();
            assert_eq!(sorted(&all), want);
        }
        let turned = see(Backend::Vulkan, ["B", "A"]);
        assert_eq!(sorted(&turned), ["B vulkan", "A vulkan"]);
    }
}
