"""Trainers of others on a CPU: the same numbers with hooks, and steps, evaluation and checkpoints where they say they are."""

from pathlib import Path

from framework_jobs import both


def test_hugging_face_trainer(tmp_path: Path) -> None:
    """A tiny model made on the spot: accumulated batches, evaluation and checkpoints; callbacks and logs are those of the job."""
    done = both(tmp_path, """
        import os, warnings
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, logging
        logging.disable_progress_bar()
        class Words(Dataset):
            def __len__(self):
                return 48
            def __getitem__(self, place):
                words = torch.randint(0, 50, (12,), generator=torch.Generator().manual_seed(place))
                return {"input_ids": words, "labels": words}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2))
        arguments = TrainingArguments("saved", num_train_epochs=2, per_device_train_batch_size=4, gradient_accumulation_steps=2,
                                      eval_strategy="steps", eval_steps=4, save_strategy="steps", save_steps=6, logging_steps=3,
                                      report_to=[], use_cpu=True, disable_tqdm=True, seed=1)
        trainer = Trainer(model, arguments, train_dataset=Words(), eval_dataset=Words())
        print([type(callback).__name__ for callback in trainer.callback_handler.callbacks])
        trainer.train()
        for entry in trainer.state.log_history:
            show(*(value for name, value in entry.items() if name in ("loss", "grad_norm", "eval_loss")))
        show(*(weight.detach().double().sum() for weight in model.parameters()))
    """.replace("trainer.train()", "sys.stdout, kept = open(os.devnull, 'w'), sys.stdout; trainer.train(); sys.stdout = kept"))

    assert len(done.steps) == 12
    assert sum(step["samples"] for step in done.steps) == 96  # the Trainer fetches ahead
    for phase in ("forward", "backward", "optimizer"):
        assert all(done.seconds(phase))
    assert [number for number, seconds in enumerate(done.seconds("evaluation")) if seconds] == [3, 7, 11]
    assert [number for number, seconds in enumerate(done.seconds("checkpoint")) if seconds] == [5, 11]
    assert [mark["event.reason"] for mark in done.marks("checkpoint")] == ["step 6", "step 12"]


def test_lightning(tmp_path: Path) -> None:
    """Its optimizers compute the loss themselves; its check before the training belongs to no step."""
    done = both(tmp_path, """
        import logging, warnings
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        import lightning
        class Model(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = Net()
            def training_step(self, batch, number):
                loss = loss_of(self.net(batch[0]), batch[1])
                show(loss)
                return loss
            def validation_step(self, batch, number):
                show(loss_of(self.net(batch[0]), batch[1]))
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                                    default_root_dir=".")
        trainer.fit(Model(), DataLoader(Slow(40), batch_size=8), DataLoader(Slow(16), batch_size=8))
    """)

    assert len(done.steps) == 10
    for phase in ("forward", "backward", "optimizer"):
        assert all(done.seconds(phase))
    assert [number for number, seconds in enumerate(done.seconds("evaluation")) if seconds] == [4, 9]
    assert [number for number, seconds in enumerate(done.seconds("checkpoint")) if seconds] == [4, 9]


def test_keras(tmp_path: Path) -> None:
    """With PyTorch and with JAX below it: a step for each batch, evaluation after each epoch, and the file that was saved."""
    code = """
        import os
        os.environ["KERAS_BACKEND"] = "{backend}"
        import keras, numpy
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly={eagerly})
        x, y = numpy.random.rand(40, 4), numpy.random.rand(40, 1)
        told = model.fit(x, y, batch_size=8, epochs=2, validation_data=(x, y), verbose=0)
        show(*told.history["loss"], *told.history["val_loss"])
        model.save("model.keras")
    """
    for backend in ("torch", "jax"):
        (tmp_path / backend).mkdir()
        done = both(tmp_path / backend, code.replace("{backend}", backend).replace("{eagerly}", str(backend == "torch")))

        assert len(done.steps) == 10
        assert all(done.seconds("compute"))
        assert all(done.seconds("data_wait")) == (backend == "torch")  # JAX asks for data where it computes
        assert [number for number, seconds in enumerate(done.seconds("evaluation")) if seconds] == [4, 9]
        assert [mark["event.reason"] for mark in done.marks("checkpoint")] == ["model.keras"]
