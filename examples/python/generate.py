"""Writes the Python code of Rapport's contracts: `python generate.py [FOLDER]` (default: stubs)."""

import pathlib
import sys

import grpc_tools
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
# google/protobuf comes with grpcio-tools, google/rpc and google/type with googleapis-common-protos.
WELL_KNOWN = pathlib.Path(grpc_tools.__file__).parent / "_proto"


def main(folder: pathlib.Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(str(file.relative_to(PROTO)) for file in PROTO.glob("rapport/*/v1/*.proto"))
    into = [f"--python_out={folder}", f"--pyi_out={folder}", f"--grpc_python_out={folder}"]
    return protoc.main(["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *into, *files])


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "stubs"))
