import os

from igcl_lightning.graphs.parser import default_parser
from igcl_lightning.reports import parsing
from igcl_lightning.reports.files import is_lfs_pointer, near_path, walk_folders
from igcl_lightning.reports.sources import open_source


def test_a_link_to_nowhere_is_not_its_own_near_name(tmp_path):
    (tmp_path / "rows.csv").symlink_to("gone.csv")
    assert near_path(tmp_path / "rows.csv") == ""


def test_a_link_to_the_folder_itself_is_not_followed(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("Edema.")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert [(str(folder), names) for folder, names in walk_folders(tmp_path)] == [
        (str(tmp_path), ["a.txt"]),
        (os.path.join(tmp_path, "sub"), []),
    ]


def test_a_pointer_as_git_writes_it_is_recognised(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0123456789abcdef' * 4}\nsize 123456789\n"
    )
    assert is_lfs_pointer(file)
    file.write_bytes(file.read_bytes() * 20)
    assert not is_lfs_pointer(file)


def test_only_a_parser_that_is_given_may_need_torch(tmp_path, monkeypatch):
    asked = []
    real = parsing.ordered_map

    def noted(jobs, *, with_torch):
        asked.append(with_torch)
        return real(jobs, with_torch=with_torch)

    monkeypatch.setattr(parsing, "ordered_map", noted)
    (tmp_path / "reports.jsonl").write_text('{"id": 1, "text": "Edema."}\n')
    source = open_source(tmp_path / "reports.jsonl")
    for number, parser in enumerate((None, default_parser())):
        parsing.parse_reports(source, tmp_path / f"{number}.jsonl", parser)
    assert asked == [False, True]
