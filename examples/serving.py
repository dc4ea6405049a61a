"""Put a model to use: as ONNX, of 8 bits, and behind HTTP.

    python examples/serving.py
    python examples/serving.py --keep

A small model is trained on generated sentences, written as ONNX beside its 8-bit form, and served on this machine; the
script asks it as a program would. With --keep it goes on until Ctrl-C: open the address in a browser to try the model.
Without --model it is the embedded MiniLM. See docs/serving.md.
"""

import argparse
import json
import threading
import time
import urllib.request
from pathlib import Path

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", default="output/serving", help="folder for the model and its ONNX files")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--keep", action="store_true", help="serve until Ctrl-C")
    arguments = parser.parse_args()

    data = reasoner.synthetic.ner_pack(train=300, validation=60, test=120)
    result = reasoner.fine_tune(arguments.model, data, task="ner", num_train_epochs=arguments.epochs)
    folder = Path(arguments.output) / "onnx"
    print(reasoner.export_onnx(result, folder, data, quantized=True))

    service = threading.Thread(target=reasoner.serve, args=(folder,), kwargs={"port": arguments.port}, daemon=True)
    service.start()
    address = f"http://127.0.0.1:{arguments.port}"
    wait_for(f"{address}/health", service)
    body = json.dumps({"inputs": ["Maria Silva works in Oslo.", "No name is here."]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{address}/predict", body)) as response:
        for entities in json.load(response)["predictions"]:
            print([f"{one['word']} ({one['entity_group']})" for one in entities])
    while arguments.keep:
        time.sleep(1)


def wait_for(address: str, service: threading.Thread) -> None:
    """Wait until the service answers."""
    while service.is_alive():
        try:
            urllib.request.urlopen(address).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("The service did not start.")


if __name__ == "__main__":
    main()
