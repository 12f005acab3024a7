"""The page on profiles: its file and its commands."""

from docs_page import block, commands, run

PAGE = "who-lacks-what.md"


def test_the_page_works_as_written(place, capsys):
    names = [f"case{n}" for n in range(20)]
    (place / "sites.yaml").write_text(block(PAGE, "yaml"))
    (place / "names.txt").write_text("\n".join(names))
    sites = [f"{name},{('north', 'south')[n % 2]}" for n, name in enumerate(names)]
    (place / "sites.csv").write_text("\n".join(["case,site", *sites, ""]))
    for command in commands(PAGE):
        assert run(command) == 0
        said = capsys.readouterr()
        assert said.out.startswith("case,flair,t1ce,t1,t2\n")
        assert "missing rates" in said.err
    assert (place / "sites.png").stat().st_size > 1000
