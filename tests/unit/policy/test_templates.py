"""Templates of names: what they are refused for at load, and what no value can do to the name around it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.evidence import ACME_ACCOUNT, CHALLENGE_STATIC, Evidence, VerifiedCredential
from gateway.policy.complaints import Misfit
from gateway.policy.template import WORDS, Form, Template, TemplateFault, compile_template
from gateway.policy.vocabulary import request_words, san_words
from tests.unit.policy.sample import basic_evidence, facts, previous, request

WORD = {"client": {"serial": "A1", "vendor": "Müller & Söhne AB", "site": "north.prague", "n": 17}}

FAULTS = {
    "": "the template is empty; write one",
    "${client.serial": "the ${ at character 1 of '${client.serial' is not closed; write }",
    "x-${}": "'' at character 5 is no word",
    "${clint.serial}": "'clint' at character 3 is no word; did you mean 'client'?",
    "${client}": "client at character 3 is no single value; add a dot and",
    "a.${subject.Cn}": "'Cn' at character 5 is no subject attribute; did you mean 'CN'?",
    "${csr.san.dns}": "csr.san.dns at character 3 is a list",
    "${now}": "now at character 3 is a time",
    "${client.serial|slag}": "'slag' at character 3 is no filter; did you mean 'slug'?",
    "${csr.key.siz}": "'siz' at character 3 is no part of csr.key; did you mean 'size'?",
    "${protocol.x}": "protocol at character 3 has no parts; write ${protocol}",
    "${client.label}": "client.label at character 3 is no single value; add a dot and the name of one",
    "${client.a b}": "is no word; write one like ${client.serial}",
    "${client.serial}" * 21: "the template has 21 words; at most 20",
    "x" * 513: "the template has 513 characters; at most 512",
}


@pytest.mark.parametrize("source", FAULTS)
def test_mistake_in_a_template_is_told_with_its_place_in_it(source: str) -> None:
    with pytest.raises(Misfit) as caught:
        compile_template(source, Form.DNS)
    assert FAULTS[source] in str(caught.value)


def test_uri_that_begins_with_a_word_is_refused() -> None:
    with pytest.raises(Misfit, match="a URI begins with its scheme"):
        compile_template("${client.serial}://a", Form.URI)
    assert compile_template("${client.serial}", Form.URI).render({"client": {"serial": "urn:a"}}) == "urn:a"


MADE = {
    (Form.DNS, "${client.serial}.${client.vendor|slug}.test"): "A1.muller-sohne-ab.test",
    (Form.DNS, "${client.serial|lower}.test"): "a1.test",
    (Form.DNS, "${client.site|dns}.test"): "north.prague.test",
    (Form.DNS, "${client.site}"): "north.prague",
    (Form.DNS, "dev-${client.n}.test"): "dev-17.test",
    (Form.DNS, "$${x}"): "${x}",
    (Form.TEXT, "${client.vendor} ${client.n}"): "Müller & Söhne AB 17",
    (Form.TEXT, "${client.vendor|upper}"): "MÜLLER & SÖHNE AB",
    (Form.EMAIL, "${client.site}@${client.serial}.test"): "north.prague@A1.test",
    (Form.URI, "urn:dev:${client.vendor}"): "urn:dev:M%C3%BCller%20%26%20S%C3%B6hne%20AB",
    (Form.IP, "10.0.0.${client.n}"): "10.0.0.17",
}


@pytest.mark.parametrize(("form", "source"), MADE)
def test_template_makes_what_its_words_say(form: Form, source: str) -> None:
    assert compile_template(source, form).render(WORD) == MADE[form, source]


BAD_VALUES = {
    "empty": "",
    "blank": "  ",
    "star": "a*",
    "question-mark": "a?",
    "control": "a\n",
    "null": "a\0",
    "bidi": "a\u202eb",
    "too-long": "a" * 256,
    "list": ["a"],
    "true": True,
    "mapping": {"a": "b"},
}


@pytest.mark.parametrize("case", BAD_VALUES)
@pytest.mark.parametrize("source", ["${client.serial}", "x-${client.serial|slug}"])
def test_value_that_makes_no_name_is_told_with_its_word(case: str, source: str) -> None:
    made = compile_template(source, Form.TEXT).render({"client": {"serial": BAD_VALUES[case]}})
    assert isinstance(made, TemplateFault)
    assert "client.serial" in str(made)
    assert not made.missing


def test_word_without_value_is_told_as_missing() -> None:
    made = compile_template("${client.label.site}.test", Form.DNS).render({"client": {"label": {}}})
    assert isinstance(made, TemplateFault)
    assert (made.word, made.missing) == ("client.label.site", True)
    assert str(made) == "client.label.site has no value in this request"


INJECTIONS = {
    (Form.DNS, "${client.serial}.a.test"): ["evil.com", "evil/", "a b", "é", "a@b", "-.", "a\\"],
    (Form.DNS, "${client.serial|dns}.a.test"): ["evil.com.", ".evil", "a..b", "a/b", "a@b"],
    (Form.EMAIL, "${client.serial}@a.test"): ["x@evil.com", "a b", "<a>", "a,b", ".a"],
    (Form.EMAIL, "ops@${client.serial}.test"): ["evil.com", "a@b", "a/b"],
    (Form.URI, "https://${client.serial}.test/x"): ["evil.com", "evil/", "u@h", "evil#", "a:80"],
    (Form.URI, "https://a.test/${client.serial}"): ["..", "."],
    (Form.IP, "10.0.0.${client.serial}"): ["1.2", "1:2", "x", "12345"],
}


@pytest.mark.parametrize(("form", "source"), INJECTIONS)
def test_value_cannot_change_the_form_of_the_name_around_it(form: Form, source: str) -> None:
    template = compile_template(source, form)
    for value in INJECTIONS[form, source]:
        made = template.render({"client": {"serial": value}})
        assert isinstance(made, TemplateFault), (value, made)


@given(st.text(max_size=20))
def test_value_in_a_uri_never_brings_a_reserved_character(value: str) -> None:
    made = compile_template("https://a.test/x/${client.serial}/y", Form.URI).render(
        {"client": {"serial": value}}
    )
    if isinstance(made, str):
        head, _, tail = made.removeprefix("https://a.test/x/").rpartition("/y")
        assert not set(head) & set("/?#@:[]!$&'()*+,;= ")
        assert made.startswith("https://a.test/x/")
        assert tail == ""


@given(st.text(max_size=20), st.sampled_from(["", "|dns", "|slug", "|lower"]))
def test_value_in_a_dns_name_stays_below_the_suffix(value: str, name: str) -> None:
    made = compile_template(f"${{client.serial{name}}}.a.test", Form.DNS).render(
        {"client": {"serial": value}}
    )
    if isinstance(made, str):
        assert made.endswith(".a.test")
        assert made.isascii()
        if name != "|dns":
            assert made.count(".") == 2


def _known(words: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(words, dict):
        return [path]
    return [found for name, inner in words.items() for found in _known(inner, (*path, name))]


def test_every_word_of_the_vocabulary_is_known_to_templates() -> None:
    accounts = tuple(
        VerifiedCredential(kind, "x", "name", labels=(("site", "brno"),))
        for kind in (ACME_ACCOUNT, CHALLENGE_STATIC)
    )
    evidence = Evidence((*basic_evidence().credentials, *accounts))
    words = request_words(request("dns:a.test"), evidence, facts(previous=previous("dns:a.test")))
    words["subject"], words["san"] = {"CN": "x"}, san_words(())
    assert set(words) == set(WORDS)
    for path in _known(words):
        assert _complaint(path) in ("", "list", "time"), path


def _complaint(path: tuple[str, ...]) -> str:
    """What a template says of a word: nothing, or that it is a list or a time and so has no text."""
    try:
        compile_template(f"${{{'.'.join(path)}}}", Form.TEXT)
    except Misfit as error:
        said = re.search(r" is a (list|time), and a template takes texts", str(error))
        return said[1] if said is not None else str(error)
    return ""


def test_words_of_a_template_are_told() -> None:
    template = compile_template("${client.serial}.${csr.key.type}.test", Form.DNS)
    assert isinstance(template, Template)
    assert template.words == (("client", "serial"), ("csr", "key", "type"))
