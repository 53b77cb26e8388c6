"""The first autoencoder: 784 pixels, 64 numbers, 784 pixels."""

# train
import scratchae as sa
from scratchae import optim, plotting

sa.manual_seed(0)
images, _ = sa.data.mnist_sample()
test_images, _ = sa.data.mnist_sample("test")

model = sa.Autoencoder.dense((784, 128, 64), activation="relu", output="sigmoid", loss="bce")
print(model)
trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=1e-3))
history = trainer.fit(images, validation=test_images, epochs=5, progress=False)

print("test loss per epoch:", [round(loss, 4) for loss in history["val_loss"]])
print("codes:", model.transform(test_images).shape)
print(f"test MSE: {model.reconstruction_error(test_images).mean():.4f}")
# look
history.plot("start_loss.png")
shown = test_images[:10]
plotting.reconstructions(shown, model.reconstruct(shown), "start_reconstructions.png")
