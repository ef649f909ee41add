use gotmpl::tmap;

use super::*;

fn data() -> Value {
    let instances = vec![
        tmap! { "Interface" => "eth0", "VirtualIPs" => vec!["10.0.0.100/24", "10.0.0.101/24"], "Peers" => Vec::<String>::new() },
        tmap! { "Interface" => "eth1", "VirtualIPs" => vec!["10.1.0.100/24"], "Peers" => vec!["10.1.0.2"] },
    ];
    tmap! {
        "VRRPInstances" => instances,
        "APIServerPort" => 6443_i64,
        "IPVSLoadBalancer" => true,
        "RealServers" => Vec::<String>::new(),
        "Name" => "a b",
    }
}

fn rendered(source: &str) -> String {
    render("test", source, &data()).unwrap()
}

fn error(source: &str) -> String {
    render("my.conf", source, &data()).unwrap_err().to_string()
}

/// The expected texts are what Go's text/template prints (its documentation's rules).
#[test]
fn every_construct_that_keepalived_templates_use_works() {
    for (source, expected) in [
        ("{{ .APIServerPort }}", "6443"),
        ("{{range .VRRPInstances}}[{{.Interface}}]{{end}}", "[eth0][eth1]"),
        ("{{range $i, $it := .VRRPInstances}}{{$i}}={{$it.Interface}} {{end}}", "0=eth0 1=eth1 "),
        ("{{range .RealServers}}x{{else}}none{{end}}", "none"),
        ("{{if .RealServers}}some{{else if .IPVSLoadBalancer}}ipvs{{else}}none{{end}}", "ipvs"),
        ("{{with .Name}}<{{.}}>{{end}}", "<a b>"),
        ("{{with .RealServers}}some{{else}}none{{end}}", "none"),
        ("{{if gt (len .VRRPInstances) 1}}many{{end}}", "many"),
        ("{{if and .IPVSLoadBalancer (eq (len .VRRPInstances) 2)}}both{{end}}", "both"),
        ("{{if or .RealServers .Name}}one{{end}}", "one"),
        ("{{if not .RealServers}}none{{end}}", "none"),
        ("{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{ge 1 2}}", "true true true false"),
        ("{{$port := .APIServerPort}}{{range .VRRPInstances}}{{$port}} {{end}}", "6443 6443 "),
        ("{{range .VRRPInstances}}{{$.APIServerPort}} {{end}}", "6443 6443 "),
        ("{{printf \"%s-%d-%q\" .Name 7 \"x\"}}", "a b-7-\"x\""),
        ("a  {{- 1 -}}  b", "a1b"),
        ("a{{/* a comment with {{ */}}b", "ab"),
        ("{{index .VRRPInstances 1 | len}}", "3"),
        ("{{(index .VRRPInstances 1).Interface}}", "eth1"),
        ("{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .APIServerPort}}", "<6443>"),
        ("{{quote .Name}} {{quote \"plain\"}}", "\"a b\" plain"),
    ] {
        assert_eq!(rendered(source), expected, "{source}");
    }
}

#[test]
fn errors_of_syntax_name_file_line_and_column() {
    assert_eq!(
        error("a\n  {{ if .Name }}{{ \"{{ end }}\" }}{{/* {{ end }} */}}\n"),
        "my.conf:2:3: {{ if }} without {{ end }}"
    );
    assert_eq!(error("a\n{{ end }}"), "my.conf:2:1: {{ end }} without a block");
    assert_eq!(error("{{- else -}}"), "my.conf:1:1: {{ else }} without a block");
    let open = error("a\n {{ .Name");
    assert!(open.starts_with("my.conf:2:"), "{open}");
    let unknown = error("{{ frobnicate 1 }}");
    assert!(unknown.starts_with("my.conf:1:"), "{unknown}");
}

#[test]
fn errors_while_it_runs_name_file_line_and_column_of_the_action() {
    assert_eq!(error("a\nb {{ .Nmae }}"), "my.conf:2:3: there is no variable .Nmae");
    assert_eq!(
        error("{{ range .VRRPInstances }}\n  x {{ .Interface }} {{ .Interfaec }}\n{{ end }}"),
        "my.conf:2:22: there is no variable .Interfaec"
    );
    assert_eq!(error("ä {{- len 3 }}").split(": ").next().unwrap(), "my.conf:1:3");
    assert_eq!(
        error("{{define \"x\"}}\n{{ .Missing }}{{end}}\n{{template \"x\" .}}"),
        "my.conf:2:1: there is no variable .Missing"
    );
}

#[test]
fn a_template_that_never_ends_is_an_error() {
    let endless = error("{{define \"x\"}}{{template \"x\" .}}{{end}}{{template \"x\" .}}");
    assert!(endless.contains("recursion"), "{endless}");
    let endless = error("{{range 100000000}}{{range 100000000}}{{end}}{{end}}");
    assert!(endless.contains("range iteration"), "{endless}");
}
