//! `WGPU_BACKEND`: which backends to look for adapters in.

/// The backends that `variable`, the value of `WGPU_BACKEND`, names of those that are `here`; all of them if it is not set.
///
/// A list may name backends of other systems beside one of this. wgpu itself leaves out what it does not know, and an empty list
/// then looks like a machine without a driver.
///
/// # Errors
/// One line: a name that does not exist, or no backend of this system.
pub(super) fn choose(variable: Option<&str>, here: wgpu::Backends) -> Result<wgpu::Backends, String> {
    let Some(list) = variable else { return Ok(here) };
    let names: Vec<_> = here.iter().map(name).collect();
    let fail =
        |why: String| Err(format!("WGPU_BACKEND={list}: {why}; wgrad runs on {} here", names.join(", ")));
    let mut chosen = wgpu::Backends::empty();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match wgpu::Backends::from_comma_list(item) {
            unknown if unknown.is_empty() => return fail(format!("no backend is named `{item}`")),
            known => chosen |= known,
        }
    }
    if chosen.is_empty() {
        return fail("it is set and names no backend".into());
    }
    if (chosen & here).is_empty() {
        let names: Vec<_> = chosen.iter().map(name).collect();
        return fail(format!("there is no {} to run on", names.join(" or ")));
    }
    Ok(chosen & here)
}

/// The name that `WGPU_BACKEND` takes for one backend.
fn name(backend: wgpu::Backends) -> &'static str {
    let is = |other: &&wgpu::Backend| wgpu::Backends::from(**other) == backend;
    wgpu::Backend::ALL.iter().find(is).map_or("an unknown backend", |backend| backend.to_str())
}

#[cfg(test)]
mod tests {
    use super::choose;
    use wgpu::Backends;

    #[test]
    fn a_list_names_backends() {
        let windows = Backends::VULKAN | Backends::DX12;
        for (text, chosen) in [
            (None, windows),
            (Some("vulkan"), Backends::VULKAN),
            (Some("DX12"), Backends::DX12),
            (Some(" d3d12, vk "), windows),
            (Some("metal,vulkan"), Backends::VULKAN),
            (Some("vulkan,"), Backends::VULKAN),
        ] {
            assert_eq!(choose(text, windows), Ok(chosen), "{text:?}");
        }
    }

    #[test]
    fn a_wrong_list_is_named_with_what_there_is() {
        for (text, reason) in [
            ("vulcan", "WGPU_BACKEND=vulcan: no backend is named `vulcan`; wgrad runs on vulkan here"),
            (
                "vulkan,dx13",
                "WGPU_BACKEND=vulkan,dx13: no backend is named `dx13`; wgrad runs on vulkan here",
            ),
            ("gl", "WGPU_BACKEND=gl: there is no gl to run on; wgrad runs on vulkan here"),
            (
                "metal, dx12",
                "WGPU_BACKEND=metal, dx12: there is no metal or dx12 to run on; wgrad runs on vulkan here",
            ),
            ("", "WGPU_BACKEND=: it is set and names no backend; wgrad runs on vulkan here"),
            (" , ", "WGPU_BACKEND= , : it is set and names no backend; wgrad runs on vulkan here"),
        ] {
            assert_eq!(choose(Some(text), Backends::VULKAN), Err(reason.to_owned()));
        }
    }
}
