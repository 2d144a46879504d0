use super::*;

#[test]
fn lines_of_npm() {
    let text = "# registry=https://no.example\nregistry = https://one.example/npm/\n@corp:registry=http://two.example:8080\n//one.example/:_authToken=x\n";
    let set = settings(text, |key| key == "registry" || key.ends_with(":registry"));
    let rules: Vec<_> = values(set).iter().filter_map(|url| rule_of_url(url)).collect();
    assert_eq!(rules, ["one.example:443", "two.example:8080"]);
}

#[test]
fn credentials_are_no_part_of_a_rule() {
    assert_eq!(rule_of_url("https://me:secret@one.example/simple").as_deref(), Some("one.example:443"));
    assert_eq!(rule_of_url("file:///srv/mirror"), None);
    assert_eq!(rule_of_url("direct"), None);
}

#[test]
fn tables_of_cargo() {
    let text = "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+https://mirror.example/index/\"\n\
                [registries]\nown.index = 'https://own.example/git'\n[source.\"other\"]\nregistry='https://third.example'\n";
    let found = sections(text);
    let of = |section: &str, key: &str| {
        found.iter().find(|(own, name, _)| own == section && name == key).map(|(_, _, value)| value.as_str())
    };
    assert_eq!(of("source.mirror", "registry"), Some("sparse+https://mirror.example/index/"));
    assert_eq!(of("registries.own", "index"), Some("https://own.example/git"));
    assert_eq!(of("source.other", "registry"), Some("https://third.example"));
}

#[test]
fn credentials_are_not_shown_inside() {
    let plain = without_credentials("https://me:secret@one.example/simple https://two.example/a@b");
    assert_eq!(plain, "https://one.example/simple https://two.example/a@b");
}
